//! A value that one future of this thread has at a time; the others wait for it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::mem::take;
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Where the value lies while nobody has it.
#[derive(Debug, Default)]
pub struct Slot<T> {
    value: RefCell<T>,
    taken: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

/// The value, until this is dropped.
#[derive(Debug)]
pub struct Lease<T: Default> {
    value: T,
    slot: Rc<Slot<T>>,
}

impl<T: Default> Slot<T> {
    /// Waits for the value.
    pub async fn take(self: &Rc<Self>) -> Lease<T> {
        std::future::poll_fn(|context| {
            if self.taken.replace(true) {
                self.waiting.borrow_mut().push(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        Lease { value: self.value.take(), slot: Rc::clone(self) }
    }
}

impl<T> Slot<T> {
    /// `work`, which makes its steps while nobody has the value.
    pub async fn meanwhile<R>(&self, work: impl Future<Output = R>) -> R {
        let mut work = pin!(work);
        std::future::poll_fn(|context| {
            if self.taken.get() {
                self.waiting.borrow_mut().push(context.waker().clone());
                return Poll::Pending;
            }
            work.as_mut().poll(context)
        })
        .await
    }
}

impl<T: Default> Deref for Lease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Default> DerefMut for Lease<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: Default> Drop for Lease<T> {
    fn drop(&mut self) {
        self.slot.value.replace(take(&mut self.value));
        self.slot.taken.set(false);
        for waker in self.slot.waiting.take() {
            waker.wake();
        }
    }
}
