//! The values that are stored at a key, and the answers of the scripts.

use std::time::Duration;

use lock_core::backend::{Claim, Effect};
use lock_core::{
    Error, ErrorKind, FencingToken, Holder, Metadata, OwnerFingerprint, OwnerToken, Result,
};
use redis::Value;

/// Separates the owner token from the metadata in every lock of ours. No value of another library
/// has it there, so none is taken for ours. Values of bsm/redislock and redsync begin with 22
/// characters that could be an owner token.
const OURS: u8 = 0x1f;

/// Returns the value that is stored while a claim holds its key.
///
/// The scripts compare only the owner token, and not the whole value, so that a lock can be resumed
/// without its metadata. No token is a prefix of another, because all have the same length.
pub(super) fn value(claim: &Claim) -> Vec<u8> {
    [claim.owner_token().expose().as_bytes(), &[OURS], claim.metadata().as_bytes()].concat()
}

/// Describes the holder with a stored value. A value that is not token and metadata is foreign.
pub(super) fn holder(value: &[u8], left: i64, token: &Value) -> Holder {
    let ours = value.split_at_checked(OwnerToken::LEN);
    let ours = ours.and_then(|(owner, rest)| Some((owner, rest.strip_prefix(&[OURS])?)));
    let holder = match ours {
        Some((owner, metadata)) => Holder::new(OwnerFingerprint::from_bytes(owner))
            .with_metadata(Metadata::from_stored(metadata))
            .with_fencing(fencing(token).ok()),
        // The fencing token is that of an earlier holder of ours.
        None => Holder::foreign(value),
    };
    holder.with_remaining(remaining(left))
}

/// Splits a script's answer into its first word and the rest.
pub(super) fn words(answer: &Value) -> Result<(&[u8], &[Value])> {
    match answer {
        Value::Array(parts) => match parts.split_first() {
            Some((Value::BulkString(word), rest)) => Ok((word, rest)),
            _ => Err(senseless(answer)),
        },
        _ => Err(senseless(answer)),
    }
}

pub(super) fn fencing(token: &Value) -> Result<FencingToken> {
    let number = match token {
        // A mark may follow the token; see `fence.lua`.
        Value::BulkString(text) => std::str::from_utf8(text).ok(),
        _ => None,
    };
    let number = number.and_then(|text| text.split('*').next()?.parse().ok());
    number.and_then(FencingToken::new).ok_or_else(|| senseless(token))
}

pub(super) fn remaining(left: i64) -> Option<Duration> {
    u64::try_from(left).ok().map(Duration::from_millis)
}

pub(super) fn foreign() -> Error {
    Error::new(
        ErrorKind::Foreign,
        "the key holds data of another type that never expires, so it is no lock; choose another \
         key or prefix, or remove the data if it is not needed",
    )
}

pub(super) fn settling(left: i64) -> Error {
    let message = format!(
        "the server is new to the quorum or may have lost data; it grants nothing for {left} ms, \
         until every lease that it may have forgotten has ended"
    );
    Error::new(ErrorKind::Unavailable, message).with_effect(Effect::NotApplied)
}

pub(super) fn bad_fence(why: &Value) -> Error {
    let why = match why {
        Value::BulkString(text) => String::from_utf8_lossy(text),
        _ => "unknown".into(),
    };
    Error::new(ErrorKind::Corrupt, format!("the key's fencing counter is unusable: {why}"))
}

pub(super) fn senseless(answer: &Value) -> Error {
    let shape = match answer {
        Value::Nil => "nil",
        Value::Int(_) => "an integer",
        Value::Array(_) => "an array",
        _ => "something else",
    };
    let message = format!("unexpected answer from the server: {shape}");
    Error::new(ErrorKind::Corrupt, message).with_effect(Effect::Unknown)
}
