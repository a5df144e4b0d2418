//! What a guest holds of its call: a handle for each thing that it may ask about.

/// Stands for the connection of the call. There is only one, so the handle
/// carries nothing.
pub enum FactsHandle {}

/// Stands for the window of the call, in the same way.
pub enum WindowHandle {}

/// Stands for the ending of the call, in the same way.
pub enum EndingHandle {}
