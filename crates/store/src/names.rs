//! The texts by which enums stand in the database, in JSON and on the command line.

/// Gives an enum `as_str`, `ALL`, `Display` and `FromStr` from one table.
macro_rules! names {
    ($name:ident, $what:literal, $($variant:ident = $text:literal),+ $(,)?) => {
        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The text by which it is stored; the same as in JSON.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::Error;

            fn from_str(text: &str) -> crate::Result<Self> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => {
                        let known = [$($text),+].join(", ");
                        Err(crate::Error::BadInput(format!("{text:?} is no {}; there are {known}", $what)))
                    }
                }
            }
        }
    };
}

pub(crate) use names;
