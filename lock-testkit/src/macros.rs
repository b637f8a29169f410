//! `conformance!`, and the macros that make a test of each case in the list.

/// Makes a `#[test]` of every case of the suite, in a module of the given name.
///
/// Without the feature `schedules`, the test of random schedules is ignored with a reason.
///
/// The closure returns a fresh [`Subject`](crate::Subject) for each case. The default pace is
/// [`Pace::Real`](crate::Pace::Real).
///
/// # Examples
///
/// ```
/// use lock_memory::MemoryProvider;
/// use lock_testkit::{Pace, Subject, conformance};
///
/// conformance!(memory, Pace::Paused, || async { Subject::new(MemoryProvider::new()) });
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance {
    ($name:ident, $subject:expr) => {
        $crate::conformance!($name, $crate::Pace::Real, $subject);
    };
    ($name:ident, $pace:expr, $subject:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "the closure may need them")]
            use super::*;
            $crate::__cases! { __tests [$pace] [$subject] }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    ([$pace:expr] [$subject:expr] $($family:ident { $($case:ident,)* })*) => {
        $($(
            #[test]
            fn $case() {
                $crate::run($pace, $crate::__case!($family $case), $subject);
            }
        )*)*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __case {
    ($family:ident $case:ident) => {
        $crate::cases::case(stringify!($case), |subject| {
            ::std::boxed::Box::pin($crate::cases::$family::$case(subject))
        })
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __list {
    ($($family:ident { $($case:ident,)* })*) => {
        vec![$($($crate::__case!($family $case),)*)*]
    };
}

/// Adds the case of random schedules to the list, and calls back.
#[cfg(feature = "schedules")]
#[doc(hidden)]
#[macro_export]
macro_rules! __with_schedules {
    ($callback:ident $($rest:tt)*) => {
        $crate::$callback! { $($rest)*
            schedules {
                random_schedules_match_the_model,
            }
        }
    };
}

/// Calls back. Where the case of random schedules would be a test, it is one that cannot pass.
#[cfg(not(feature = "schedules"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __with_schedules {
    (__tests $($rest:tt)*) => {
        $crate::__tests! { $($rest)* }

        #[test]
        #[ignore = "lock-testkit was compiled without its feature `schedules`"]
        fn random_schedules_match_the_model() {
            $crate::without_schedules();
        }
    };
    ($callback:ident $($rest:tt)*) => {
        $crate::$callback! { $($rest)* }
    };
}
