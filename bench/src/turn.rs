//! One turn of one task with a key, and what must be true of all turns.

use serde::{Deserialize, Serialize};

/// When a task asked for a key, entered, left, and was done: in ns of the machine's clock.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(from = "Row", into = "Row")]
pub(crate) struct Turn {
    pub(crate) key: u32,
    pub(crate) who: u32,
    /// Before `acquire` was called.
    pub(crate) asked: u64,
    /// After `acquire` had returned.
    pub(crate) entered: u64,
    /// Before `release` was called.
    pub(crate) left: u64,
    /// After `release` had returned.
    pub(crate) done: u64,
    pub(crate) fencing: Option<u64>,
}

/// A turn as it is sent between processes. It is short, because there may be hundreds of thousands.
type Row = (u32, u32, u64, u64, u64, u64, Option<u64>);

impl From<Row> for Turn {
    fn from((key, who, asked, entered, left, done, fencing): Row) -> Self {
        Self { key, who, asked, entered, left, done, fencing }
    }
}

impl From<Turn> for Row {
    fn from(turn: Turn) -> Self {
        let Turn { key, who, asked, entered, left, done, fencing } = turn;
        (key, who, asked, entered, left, done, fencing)
    }
}

impl Turn {
    pub(crate) fn waited(&self) -> u64 {
        self.entered - self.asked
    }

    pub(crate) fn held(&self) -> u64 {
        self.left - self.entered
    }
}

/// Sorts turns by key and entry, and lists the violations: two turns that overlap, or a fencing
/// token that is not larger than the last one before it.
pub(crate) fn check(turns: &mut [Turn]) -> Vec<String> {
    turns.sort_unstable_by_key(|turn| (turn.key, turn.entered));
    let mut wrong = Vec::new();
    // There may be turns without a token in between: not every library has tokens.
    let mut last_token = turns.first().and_then(|turn| turn.fencing);
    for pair in turns.windows(2) {
        let [before, after] = pair else { continue };
        if before.key != after.key {
            last_token = after.fencing;
            continue;
        }
        if after.entered < before.left {
            let early = before.left - after.entered;
            wrong.push(format!(
                "{} entered key {} {early} ns before {} left",
                after.who, after.key, before.who
            ));
        }
        if let (Some(earlier), Some(later)) = (last_token, after.fencing)
            && later <= earlier
        {
            wrong.push(format!("on key {} token {later} came after {earlier}", after.key));
        }
        last_token = after.fencing.or(last_token);
    }
    wrong
}

/// Returns the times from the exit of one holder to the entry of the next. The turns are sorted,
/// and of one key.
pub(crate) fn gaps(turns: &[Turn]) -> Vec<u64> {
    turns.windows(2).map(|pair| pair[1].entered.saturating_sub(pair[0].left)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(key: u32, entered: u64, left: u64, token: u64) -> Turn {
        Turn { key, who: 0, asked: 0, entered, left, done: left, fencing: Some(token) }
    }

    #[test]
    fn two_inside_at_a_time_are_noticed() {
        assert_eq!(check(&mut [turn(0, 10, 20, 1), turn(0, 19, 30, 2)]).len(), 1);
        assert!(check(&mut [turn(0, 20, 30, 2), turn(0, 10, 20, 1)]).is_empty());
        assert!(check(&mut [turn(0, 10, 20, 1), turn(1, 15, 30, 1)]).is_empty());
    }

    #[test]
    fn a_token_that_does_not_grow_is_noticed() {
        assert_eq!(check(&mut [turn(0, 10, 20, 2), turn(0, 20, 30, 2)]).len(), 1);
        assert!(check(&mut [turn(0, 10, 20, 2), turn(1, 20, 30, 2)]).is_empty());
    }

    #[test]
    fn a_token_must_grow_across_turns_that_have_none() {
        let bare = Turn { fencing: None, ..turn(0, 20, 30, 0) };
        assert_eq!(check(&mut [turn(0, 10, 20, 2), bare, turn(0, 30, 40, 2)]).len(), 1);
        assert!(check(&mut [turn(0, 10, 20, 2), bare, turn(0, 30, 40, 3)]).is_empty());
    }
}
