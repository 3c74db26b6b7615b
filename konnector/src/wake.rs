//! Asks for a new look at a binding, from wherever something changed. No IO.

use tokio::sync::mpsc;

/// The way to the binding controller's queue; clones share it.
#[derive(Clone, Debug)]
pub struct Wake(mpsc::UnboundedSender<String>);

impl Wake {
    /// A new queue and its end. Unbounded, because names are small and the reader drops repetitions.
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<String>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// The binding of that name should be looked at; names of none are ignored by the reader.
    pub fn binding(&self, name: impl Into<String>) {
        // The reader is gone only when the term is over, and then nobody needs to look.
        let _ = self.0.send(name.into());
    }
}
