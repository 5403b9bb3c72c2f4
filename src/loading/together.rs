//! Several futures at once, in one thread.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use crate::error::Result;

/// Runs futures side by side until all are done, or one fails.
///
/// # Errors
/// That of the first that fails; the others are dropped.
pub async fn all<F: Future<Output = Result<()>>>(futures: impl Iterator<Item = F>) -> Result<()> {
    let mut open: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    std::future::poll_fn(move |context| {
        let mut at = 0;
        while let Some(future) = open.get_mut(at) {
            match future.as_mut().poll(context) {
                Poll::Pending => at += 1,
                Poll::Ready(Ok(())) => drop(open.swap_remove(at)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        if open.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}
