//! What a model takes and gives, and whether a request fits it.

use crate::error::{Error, Result, shown};
use crate::tensor::{DataType, Tensor};

/// One input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub dtype: DataType,
    /// Its dimensions; −1 is one of any size.
    pub dims: Vec<i64>,
}

/// All inputs and outputs, in the model's order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signature {
    /// What a request has to give.
    pub inputs: Vec<Port>,
    /// What it can get.
    pub outputs: Vec<Port>,
}

impl Signature {
    /// Puts a request's tensors into the model's order.
    ///
    /// # Errors
    /// [`Error::BadInput`] names the input that is missing, unknown, double, or of the wrong type or shape.
    pub fn check(&self, tensors: Vec<Tensor>) -> Result<Vec<Tensor>> {
        for (index, tensor) in tensors.iter().enumerate() {
            if !self.inputs.iter().any(|port| port.name == tensor.name()) {
                let reason = format!("the model has no such input; its inputs are {}", names(&self.inputs));
                return Err(Error::bad_input(tensor.name(), reason));
            }
            if tensors.iter().take(index).any(|other| other.name() == tensor.name()) {
                return Err(Error::bad_input(tensor.name(), "the input is given twice"));
            }
        }
        let mut left: Vec<Option<Tensor>> = tensors.into_iter().map(Some).collect();
        let mut ordered = Vec::with_capacity(self.inputs.len());
        for port in &self.inputs {
            let found = left.iter_mut().find(|slot| slot.as_ref().is_some_and(|tensor| tensor.name() == port.name));
            let tensor = found.and_then(Option::take).ok_or_else(|| {
                Error::bad_input(&port.name, format!("the input is missing; the model needs {}", names(&self.inputs)))
            })?;
            port.check(&tensor)?;
            ordered.push(tensor);
        }
        Ok(ordered)
    }

    /// The places of the named outputs; of all where none is named.
    pub(crate) fn outputs_of(&self, wanted: &[String]) -> Result<Vec<usize>> {
        if wanted.is_empty() {
            return Ok((0..self.outputs.len()).collect());
        }
        let place = |name: &String| {
            self.outputs.iter().position(|port| port.name == *name).ok_or_else(|| {
                let reason = format!("the model has no such output; its outputs are {}", names(&self.outputs));
                Error::bad_input(name, reason)
            })
        };
        wanted.iter().map(place).collect()
    }

    /// Whether rows of different requests can be computed together: all inputs and outputs have a free outermost dimension.
    #[must_use]
    pub fn has_free_rows(&self) -> bool {
        let mut ports = self.inputs.iter().chain(&self.outputs);
        !self.inputs.is_empty() && ports.all(|port| port.dims.first() == Some(&-1))
    }
}

impl Port {
    fn check(&self, tensor: &Tensor) -> Result<()> {
        if tensor.dtype() != self.dtype {
            let reason = format!("the datatype is {}, the model takes {}", tensor.dtype(), self.dtype);
            return Err(Error::bad_input(&self.name, reason));
        }
        let fits = |(wanted, given): (&i64, &usize)| *wanted < 0 || usize::try_from(*wanted) == Ok(*given);
        if tensor.shape().len() != self.dims.len() || !self.dims.iter().zip(tensor.shape()).all(fits) {
            let reason = format!("the shape is {:?}, the model takes {:?} (-1: any size)", tensor.shape(), self.dims);
            return Err(Error::bad_input(&self.name, reason));
        }
        Ok(())
    }
}

const NAMES_SHOWN_MAX: usize = 20;

fn names(ports: &[Port]) -> String {
    let shown: Vec<String> =
        ports.iter().take(NAMES_SHOWN_MAX).map(|port| format!("`{}`", shown(&port.name))).collect();
    let more = ports.len().saturating_sub(NAMES_SHOWN_MAX);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}
