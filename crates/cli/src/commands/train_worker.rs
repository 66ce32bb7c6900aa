//! `orrery train-worker`: the process that trains one model. It has read no setting and started no thread before its walls are up.

use crate::sandbox::walls;
use orrery_platform::training::worker;
use std::io::BufReader;

/// Reads an order from the standard input, works, and tells of it on the standard output.
///
/// # Errors
/// Nobody gives an order, or nobody listens.
pub fn run() -> anyhow::Result<()> {
    // A message of a panic may hold a tenant's data.
    std::panic::set_hook(Box::new(|_| {}));
    let walls = |order: &worker::Order| {
        walls::work_in(&order.folder, order.memory_max_bytes).map_err(|error| format!("the worker's walls: {error}"))
    };
    worker::run(BufReader::new(std::io::stdin()), std::io::stdout(), walls)?;
    Ok(())
}
