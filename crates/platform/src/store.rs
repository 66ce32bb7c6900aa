//! The data folder of models: pull with resume and checksum, atomic publish, list, remove.
