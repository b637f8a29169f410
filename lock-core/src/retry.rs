//! The delays between the attempts of an acquisition.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Yields the delays between the attempts of an acquisition.
///
/// A strategy makes iterators of durations, so an array is a strategy, and a test is a `collect()`.
/// Every acquisition gets an iterator of its own, so one value serves any number of tasks. When the
/// iterator ends, the acquisition fails with [`ErrorKind::Contended`](crate::ErrorKind::Contended).
///
/// A delay is an upper bound. A release hint, or the end of the holder's lease, wakes a waiter
/// earlier (law W2). The deadline of the acquisition ends the wait under every strategy (law W1).
///
/// # Examples
///
/// ```
/// use lock_core::{Backoff, RetryStrategy};
/// use std::time::Duration;
///
/// let ms = Duration::from_millis;
/// let doubling = Backoff::exponential(ms(10), ms(50)).max_retries(4);
/// assert_eq!(doubling.delays().collect::<Vec<_>>(), [ms(10), ms(20), ms(40), ms(50)]);
/// assert_eq!([ms(5), ms(50)].delays().count(), 2); // an array is a strategy
/// ```
pub trait RetryStrategy: fmt::Debug + Send + Sync + 'static {
    /// Begins a sequence of delays. When it ends, the acquisition fails.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{Backoff, RetryStrategy};
    /// # use std::time::Duration;
    ///
    /// // A strategy of your own: every delay is a prime number of milliseconds.
    /// #[derive(Debug)]
    /// struct Primes;
    ///
    /// impl RetryStrategy for Primes {
    ///     fn delays(&self) -> Box<dyn Iterator<Item = Duration> + Send> {
    ///         Box::new([2, 3, 5, 7, 11].into_iter().map(Duration::from_millis))
    ///     }
    /// }
    /// assert_eq!(Primes.delays().count(), 5);
    /// ```
    fn delays(&self) -> Box<dyn Iterator<Item = Duration> + Send>;

    /// Retries at most `retries` times, whatever the strategy.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{Backoff, RetryStrategy};
    /// # use std::time::Duration;
    ///
    /// let counting = Backoff::from_fn(|| (1..).map(Duration::from_secs));
    /// assert_eq!(counting.max_retries(3).delays().last(), Some(Duration::from_secs(3)));
    /// ```
    #[must_use = "a strategy does nothing until an acquisition uses it"]
    fn max_retries(self, retries: u32) -> impl RetryStrategy
    where
        Self: Sized,
    {
        Limited { strategy: self, limits: Limits { retries: Some(retries), total: None } }
    }

    /// Ends before the delays would add up to more than `total`, whatever the strategy.
    ///
    /// To bound the time that a caller waits, use
    /// [`Acquire::wait_at_most`](crate::Acquire::wait_at_most) instead. It counts the time of the
    /// requests as well, and makes a last attempt at the end.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::RetryStrategy;
    /// # use std::time::Duration;
    ///
    /// let ms = Duration::from_millis;
    /// assert_eq!([ms(100), ms(200), ms(400)].within(ms(350)).delays().count(), 2);
    /// assert_eq!(vec![ms(10); 9].within(ms(55)).max_retries(7).delays().count(), 5);
    /// ```
    #[must_use = "a strategy does nothing until an acquisition uses it"]
    fn within(self, total: Duration) -> impl RetryStrategy
    where
        Self: Sized,
    {
        Limited { strategy: self, limits: Limits { retries: None, total: Some(total) } }
    }
}

/// A strategy of any kind with a limit.
#[derive(Debug)]
struct Limited<S> {
    strategy: S,
    limits: Limits,
}

impl<S: RetryStrategy> RetryStrategy for Limited<S> {
    fn delays(&self) -> Box<dyn Iterator<Item = Duration> + Send> {
        self.limits.of(self.strategy.delays())
    }
}

/// When a sequence of delays ends, if its shape does not end it before.
#[derive(Clone, Debug, Default, PartialEq)]
struct Limits {
    retries: Option<u32>,
    total: Option<Duration>,
}

impl Limits {
    fn of(
        &self,
        delays: impl Iterator<Item = Duration> + Send + 'static,
    ) -> Box<dyn Iterator<Item = Duration> + Send> {
        let retries = self.retries.and_then(|retries| usize::try_from(retries).ok());
        let total = self.total.unwrap_or(Duration::MAX);
        let mut spent = Duration::ZERO;
        let in_time = delays.take(retries.unwrap_or(usize::MAX)).take_while(move |delay| {
            spent = spent.saturating_add(*delay);
            spent <= total
        });
        Box::new(in_time)
    }
}

impl<S: RetryStrategy + ?Sized> RetryStrategy for Arc<S> {
    fn delays(&self) -> Box<dyn Iterator<Item = Duration> + Send> {
        (**self).delays()
    }
}

impl<S: RetryStrategy + ?Sized> RetryStrategy for Box<S> {
    fn delays(&self) -> Box<dyn Iterator<Item = Duration> + Send> {
        (**self).delays()
    }
}

impl RetryStrategy for Vec<Duration> {
    fn delays(&self) -> Box<dyn Iterator<Item = Duration> + Send> {
        Box::new(self.clone().into_iter())
    }
}

impl<const N: usize> RetryStrategy for [Duration; N] {
    fn delays(&self) -> Box<dyn Iterator<Item = Duration> + Send> {
        Box::new((*self).into_iter())
    }
}

struct FromFn<F>(F);

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Backoff::from_fn(..)")
    }
}

impl<F, I> RetryStrategy for FromFn<F>
where
    F: Fn() -> I + Send + Sync + 'static,
    I: IntoIterator<Item = Duration>,
    I::IntoIter: Send + 'static,
{
    fn delays(&self) -> Box<dyn Iterator<Item = Duration> + Send> {
        Box::new((self.0)().into_iter())
    }
}

/// The usual retry strategies: a shape, jitter, and limits.
///
/// | shape | delays |
/// |---|---|
/// | [`none`](Backoff::none) | no second attempt |
/// | [`fixed`](Backoff::fixed) | `d, d, d, …` |
/// | [`linear`](Backoff::linear) | `d, 2d, 3d, …` up to `max` |
/// | [`exponential`](Backoff::exponential) | `min, min·f, min·f², …` up to `max` |
/// | [`decorrelated`](Backoff::decorrelated) | random between `min` and 3 × the one before, up to `max` |
///
/// | provider | default |
/// |---|---|
/// | without [hints](crate::Capability::Hints) | [`Backoff::default`], which is `exponential(10ms, 250ms).full_jitter()` |
/// | with hints | [`Backoff::beside_hints`], which waits longer |
///
/// Every duration is valid, including zero and `Duration::MAX`. Nothing overflows.
///
/// Full and decorrelated jitter are as described in *Exponential Backoff And Jitter* (M. Brooker,
/// AWS Architecture Blog, 2015).
///
/// # Examples
///
/// ```
/// use lock_core::{Backoff, RetryStrategy};
/// use std::time::Duration;
///
/// let ms = Duration::from_millis;
/// let gentle = Backoff::exponential(ms(20), ms(2_000)).factor(3.0).full_jitter().seed(7);
/// assert!(gentle.delays().take(100).all(|delay| delay <= ms(2_000)));
/// assert_eq!(Backoff::fixed(ms(100)).within(ms(250)).delays().count(), 2);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a strategy does nothing until an acquisition uses it"]
pub struct Backoff {
    shape: Shape,
    full_jitter: bool,
    limits: Limits,
    seed: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
enum Shape {
    None,
    Linear { first: Duration, step: Duration, max: Duration },
    Exponential { min: Duration, max: Duration, factor: f64 },
    Decorrelated { min: Duration, max: Duration },
}

impl Backoff {
    /// Makes a strategy from a function that returns an iterator.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{Backoff, RetryStrategy};
    /// use std::time::Duration;
    ///
    /// let counting = Backoff::from_fn(|| (1..=3).map(Duration::from_secs));
    /// assert_eq!(counting.delays().last(), Some(Duration::from_secs(3)));
    /// ```
    pub fn from_fn<F, I>(delays: F) -> impl RetryStrategy
    where
        F: Fn() -> I + Send + Sync + 'static,
        I: IntoIterator<Item = Duration>,
        I::IntoIter: Send + 'static,
    {
        FromFn(delays)
    }

    fn of(shape: Shape) -> Self {
        Self { shape, full_jitter: false, limits: Limits::default(), seed: None }
    }

    /// Makes no second attempt.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{Backoff, RetryStrategy};
    /// # use std::time::Duration;
    ///
    /// assert_eq!(Backoff::none().delays().count(), 0);
    /// ```
    pub fn none() -> Self {
        Self::of(Shape::None)
    }

    /// Waits long, for waiters that learn of releases by hints: `exponential(50ms,
    /// 2s).full_jitter()`.
    ///
    /// Attempts are then only needed when a hint is missing.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{Backoff, RetryStrategy};
    /// # use std::time::Duration;
    ///
    /// let longest = Duration::from_secs(2);
    /// assert!(Backoff::beside_hints().delays().take(20).all(|delay| delay <= longest));
    /// ```
    pub fn beside_hints() -> Self {
        Self::exponential(Duration::from_millis(50), Duration::from_secs(2)).full_jitter()
    }

    /// Waits the same time before every attempt.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{Backoff, RetryStrategy};
    /// # use std::time::Duration;
    ///
    /// let ms = Duration::from_millis;
    /// assert!(Backoff::fixed(ms(50)).delays().take(3).eq([ms(50), ms(50), ms(50)]));
    /// ```
    pub fn fixed(interval: Duration) -> Self {
        Self::of(Shape::Linear { first: interval, step: Duration::ZERO, max: interval })
    }

    /// Waits `step` longer each time, and at most `max`.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{Backoff, RetryStrategy};
    /// # use std::time::Duration;
    ///
    /// let ms = Duration::from_millis;
    /// assert!(Backoff::linear(ms(10), ms(25)).delays().take(3).eq([ms(10), ms(20), ms(25)]));
    /// ```
    pub fn linear(step: Duration, max: Duration) -> Self {
        Self::of(Shape::Linear { first: step.min(max), step, max })
    }

    /// Waits twice as long each time, from `min` up to `max`.
    ///
    /// Use [`factor`](Backoff::factor) for a growth other than two.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{Backoff, RetryStrategy};
    /// # use std::time::Duration;
    ///
    /// let ms = Duration::from_millis;
    /// assert!(Backoff::exponential(ms(10), ms(35)).delays().take(3).eq([ms(10), ms(20), ms(35)]));
    /// ```
    pub fn exponential(min: Duration, max: Duration) -> Self {
        Self::of(Shape::Exponential { min: min.min(max), max, factor: 2.0 })
    }

    /// Waits a random time between `min` and three times the delay before, and at most `max`.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{Backoff, RetryStrategy};
    /// # use std::time::Duration;
    ///
    /// let ms = Duration::from_millis;
    /// let delays: Vec<_> = Backoff::decorrelated(ms(10), ms(500)).delays().take(50).collect();
    /// assert!(delays.iter().all(|delay| (ms(10)..=ms(500)).contains(delay)));
    /// ```
    pub fn decorrelated(min: Duration, max: Duration) -> Self {
        Self::of(Shape::Decorrelated { min: min.min(max), max })
    }

    /// Sets the growth of an exponential delay.
    ///
    /// Values below 1 and not-a-number count as 1. The other shapes ignore it.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{Backoff, RetryStrategy};
    /// # use std::time::Duration;
    ///
    /// let ms = Duration::from_millis;
    /// let tripling = Backoff::exponential(ms(1), ms(20)).factor(3.0);
    /// assert!(tripling.delays().take(4).eq([ms(1), ms(3), ms(9), ms(20)]));
    /// ```
    pub fn factor(mut self, by: f64) -> Self {
        if let Shape::Exponential { factor, .. } = &mut self.shape {
            *factor = if by >= 1.0 { by } else { 1.0 };
        }
        self
    }

    /// Replaces every delay with a random one between zero and that delay.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{Backoff, RetryStrategy};
    /// # use std::time::Duration;
    ///
    /// let ms = Duration::from_millis;
    /// let spread = Backoff::fixed(ms(100)).full_jitter();
    /// assert!(spread.delays().take(50).all(|delay| delay <= ms(100)));
    /// ```
    pub fn full_jitter(mut self) -> Self {
        self.full_jitter = true;
        self
    }

    /// Retries at most `retries` times.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{Backoff, RetryStrategy};
    /// # use std::time::Duration;
    ///
    /// let ms = Duration::from_millis;
    /// assert_eq!(Backoff::fixed(ms(50)).max_retries(3).delays().count(), 3);
    /// ```
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.limits.retries = Some(retries);
        self
    }

    /// Ends before the delays would add up to more than `total`.
    ///
    /// To bound the time that a caller waits, use
    /// [`Acquire::wait_at_most`](crate::Acquire::wait_at_most) instead. It counts the time of the
    /// requests as well, and makes a last attempt at the end.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{Backoff, RetryStrategy};
    /// # use std::time::Duration;
    ///
    /// let ms = Duration::from_millis;
    /// assert_eq!(Backoff::fixed(ms(100)).within(ms(350)).delays().count(), 3);
    /// ```
    pub fn within(mut self, total: Duration) -> Self {
        self.limits.total = Some(total);
        self
    }

    /// Makes the jitter repeatable.
    ///
    /// Every acquisition gets the same delays, so use it only in tests.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{Backoff, RetryStrategy};
    /// # use std::time::Duration;
    ///
    /// let ms = Duration::from_millis;
    /// let delays = |seed| Backoff::fixed(ms(100)).full_jitter().seed(seed).delays().take(9);
    /// assert!(delays(1).eq(delays(1)));
    /// assert!(delays(1).ne(delays(2)));
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::exponential(Duration::from_millis(10), Duration::from_millis(250)).full_jitter()
    }
}

impl RetryStrategy for Backoff {
    fn delays(&self) -> Box<dyn Iterator<Item = Duration> + Send> {
        let rng = self.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        let Self { shape, full_jitter, .. } = self.clone();
        self.limits.of(Delays { shape, full_jitter, rng, last: None })
    }
}

struct Delays {
    shape: Shape,
    full_jitter: bool,
    rng: fastrand::Rng,
    /// The last delay of the shape, before jitter.
    last: Option<Duration>,
}

impl Iterator for Delays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let shaped = match self.shape {
            Shape::None => return None,
            Shape::Linear { first, step, max } => {
                self.last.map_or(first, |last| last.saturating_add(step).min(max))
            }
            Shape::Exponential { min, max, factor } => {
                // Floats round: a delay never falls below the one before.
                self.last.map_or(min, |last| times(last, factor).max(last).min(max))
            }
            Shape::Decorrelated { min, max } => {
                let top = self.last.unwrap_or(min).saturating_mul(3).min(max).max(min);
                min.saturating_add(times(top - min, self.rng.f64())).min(top)
            }
        };
        self.last = Some(shaped);
        let spread = self.full_jitter.then(|| times(shaped, self.rng.f64()).min(shaped));
        Some(spread.unwrap_or(shaped))
    }
}

/// Multiplies without ever panicking: `Duration::mul_f64` does on overflow.
fn times(duration: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn first(strategy: &impl RetryStrategy, n: usize) -> Vec<Duration> {
        strategy.delays().take(n).collect()
    }

    #[test]
    fn every_shape_yields_its_delays() {
        assert_eq!(first(&Backoff::none(), 3), []);
        assert_eq!(first(&Backoff::fixed(ms(7)), 3), [ms(7); 3]);
        assert_eq!(first(&Backoff::linear(ms(2), ms(5)), 4), [ms(2), ms(4), ms(5), ms(5)]);
        let tripling = Backoff::exponential(ms(1), ms(20)).factor(3.0);
        assert_eq!(first(&tripling, 5), [ms(1), ms(3), ms(9), ms(20), ms(20)]);
        assert_eq!(first(&vec![ms(1), ms(2)], 9), [ms(1), ms(2)]);
    }

    #[test]
    fn limits_end_the_sequence() {
        assert_eq!(Backoff::fixed(ms(1)).max_retries(3).delays().count(), 3);
        assert_eq!(Backoff::fixed(ms(100)).within(ms(350)).delays().count(), 3);
        assert_eq!(Backoff::fixed(ms(100)).within(ms(300)).delays().count(), 3);
        assert_eq!(Backoff::fixed(ms(100)).max_retries(0).delays().count(), 0);
        let counting = || Backoff::from_fn(|| (1..).map(Duration::from_millis));
        assert_eq!(first(&counting().max_retries(3), 9), [ms(1), ms(2), ms(3)]);
        assert_eq!(first(&counting().within(ms(10)), 9), [ms(1), ms(2), ms(3), ms(4)]);
        assert_eq!(first(&counting().within(ms(10)).max_retries(2), 9), [ms(1), ms(2)]);
        assert_eq!(first(&Arc::new(vec![ms(1); 9]).max_retries(1), 9), [ms(1)]);
    }

    #[test]
    fn bl26_one_strategy_gives_each_of_64_tasks_its_full_budget() {
        let shared: Arc<dyn RetryStrategy> =
            Arc::new(Backoff::exponential(ms(1), ms(8)).max_retries(5));
        let threads: Vec<_> = (0..64)
            .map(|_| {
                let own = Arc::clone(&shared);
                std::thread::spawn(move || own.delays().collect::<Vec<_>>())
            })
            .collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), [ms(1), ms(2), ms(4), ms(8), ms(8)]);
        }
    }

    #[test]
    fn a_seed_makes_jitter_repeatable() {
        let seeded = |seed| Backoff::decorrelated(ms(10), ms(1000)).seed(seed);
        assert_eq!(first(&seeded(1), 50), first(&seeded(1), 50));
        assert_ne!(first(&seeded(1), 50), first(&seeded(2), 50));
    }

    proptest! {
        #[test]
        fn bl27_exponential_delays_never_fall_and_keep_their_cap(
            min in any::<u64>(), max in any::<u64>(), factor in any::<f64>(),
        ) {
            let (min, max) = (Duration::from_nanos(min), Duration::from_nanos(max));
            let delays = first(&Backoff::exponential(min, max).factor(factor), 200);
            prop_assert!(delays.is_sorted());
            prop_assert!(delays.iter().all(|delay| *delay <= max));
        }

        #[test]
        fn bl28_no_settings_make_a_strategy_panic_or_exceed_its_longest_delay(
            a in prop_oneof![Just(Duration::ZERO), Just(Duration::MAX), any::<Duration>()],
            b in prop_oneof![Just(Duration::ZERO), Just(Duration::MAX), any::<Duration>()],
            seed in any::<u64>(),
        ) {
            for shape in [
                Backoff::fixed(a),
                Backoff::linear(a, b),
                Backoff::exponential(a, b).factor(f64::INFINITY),
                Backoff::exponential(a, b),
                Backoff::decorrelated(a, b),
            ] {
                for strategy in [shape.clone(), shape.clone().full_jitter()] {
                    let top = a.max(b);
                    prop_assert!(strategy.clone().seed(seed).delays().take(300).all(|d| d <= top));
                    prop_assert!(strategy.within(a).delays().take(300).count() <= 300);
                }
            }
        }
    }

    #[test]
    fn bl27_a_million_attempts_do_not_overflow() {
        let endless = Backoff::exponential(ms(1), ms(1000));
        assert_eq!(endless.delays().nth(1_000_000), Some(ms(1000)));
    }
}
