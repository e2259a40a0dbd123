//! What tests of a server under load share.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Tells threads that it is over, also when a test fails meanwhile.
#[derive(Debug, Default)]
pub struct Over(AtomicBool);

impl Over {
    /// Whether it is.
    pub fn is_near(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// Something that tells them when it is dropped.
    pub fn at_end(&self) -> impl Drop + '_ {
        struct End<'a>(&'a Over);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.0.store(true, Relaxed);
            }
        }
        End(self)
    }
}

/// One test for each MPM, of functions that take it: their names are modules, the MPMs' the tests.
#[macro_export]
macro_rules! under_every_mpm {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {$(
        $(#[doc = $doc])+
        mod $name {
            use $crate::Mpm;
            #[test]
            fn prefork() {
                super::$name(Mpm::Prefork);
            }
            #[test]
            fn worker() {
                super::$name(Mpm::Worker);
            }
            #[test]
            fn event() {
                super::$name(Mpm::Event);
            }
        }
    )+};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_when_a_test_fails() {
        let over = Over::default();
        assert!(!over.is_near());
        let failed = std::panic::catch_unwind(|| {
            let _end = over.at_end();
            assert!(over.is_near(), "fails");
        });
        assert!(failed.is_err() && over.is_near());
    }
}
