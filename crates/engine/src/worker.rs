//! The engine thread: schedule → step → sample → commit.
