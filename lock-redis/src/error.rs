//! Translates Redis errors: their kind, and whether the command took effect.

use std::borrow::Cow;
use std::sync::Arc;

use lock_core::backend::Effect;
use lock_core::{Error, ErrorKind, Result};
use redis::{ErrorKind as RedisKind, RedisError, ServerErrorKind};

/// Translates an error of the driver or server, and keeps it as the source.
pub(crate) fn translate(error: RedisError) -> Error {
    let (kind, effect, message) = classify(&error);
    Error::new(kind, message).with_effect(effect).with_source(error)
}

/// Refuses settings that cannot work.
pub(crate) fn misconfigured<T>(message: impl Into<Cow<'static, str>>) -> Result<T> {
    Err(Error::new(ErrorKind::Misconfigured, message))
}

/// Returns an error's kind, the effect of the command, and a message.
///
/// The server refuses a command before it runs it, so its errors mean *not applied*. The exceptions
/// are errors without a known meaning. After an error of the connection, the effect is not known
/// either, unless nothing was sent.
fn classify(error: &RedisError) -> (ErrorKind, Effect, &'static str) {
    use Effect::{NotApplied, Unknown};
    use ErrorKind::{Corrupt, Denied, Misconfigured, Unavailable, Unsupported};
    match error.kind() {
        RedisKind::AuthenticationFailed => {
            (Denied, NotApplied, "the server refused the user name or password")
        }
        RedisKind::Io if is_missing_socket(error) => {
            (Unavailable, NotApplied, "the server's socket does not exist")
        }
        RedisKind::Io if error.is_connection_refusal() => {
            (Unavailable, NotApplied, "the server refused the connection")
        }
        RedisKind::Io if error.is_timeout() => (Unavailable, Unknown, "the server did not answer"),
        RedisKind::Io => (Unavailable, Unknown, "the connection to the server failed"),
        RedisKind::Parse if is_cut_short(error) => {
            (Unavailable, Unknown, "the connection to the server ended within an answer")
        }
        RedisKind::Parse | RedisKind::UnexpectedReturnType => {
            (Corrupt, Unknown, "the server's answer cannot be read")
        }
        RedisKind::InvalidClientConfig | RedisKind::EmptySentinelList => {
            (Misconfigured, NotApplied, "the connection settings are not usable")
        }
        RedisKind::RESP3NotSupported => {
            (Misconfigured, NotApplied, "the server does not speak the RESP3 protocol")
        }
        RedisKind::MasterNameNotFoundBySentinel
        | RedisKind::NoValidReplicasFoundBySentinel
        | RedisKind::ClusterConnectionNotFound => {
            (Unavailable, NotApplied, "no server was found to connect to")
        }
        RedisKind::Server(kind) => classify_server(error, kind),
        _ => match error.code() {
            Some(code) => classify_code(code),
            None if error.is_connection_dropped() || error.is_io_error() => {
                (Unavailable, Unknown, "the connection to the server failed")
            }
            None => (Unsupported, Unknown, "the driver refused the command"),
        },
    }
}

/// Whether the connection ended within an answer. The driver has no kind for that. Its parser
/// reports the missing rest as it reports a malformed answer, but on a line of its own.
fn is_cut_short(error: &RedisError) -> bool {
    let complaint = error.detail().unwrap_or_default();
    complaint.starts_with("Parse error at ")
        && complaint.lines().any(|line| line == "Unexpected end of input")
}

fn is_denied_to_a_script(detail: &str) -> bool {
    detail.contains("The user executing the script can't")
}

fn is_missing_socket(error: &RedisError) -> bool {
    // The driver shares its cause, so `source` returns an `Arc`.
    let shared = std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>());
    let cause = shared.and_then(|shared| shared.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::NotFound)
}

/// Classifies the errors that the server reports.
fn classify_server(error: &RedisError, kind: ServerErrorKind) -> (ErrorKind, Effect, &'static str) {
    use Effect::{NotApplied, Unknown};
    use ErrorKind::{Denied, Misconfigured, Unavailable};
    let detail = error.detail().unwrap_or_default();
    if detail == "DB index is out of range" {
        return (Misconfigured, NotApplied, "the server has no database of this number");
    }
    if is_denied_to_a_script(detail) {
        // The commands that the script ran before this one keep their effect.
        return (
            Denied,
            Unknown,
            "the server's ACL denies this user a command that a script needs",
        );
    }
    match kind {
        ServerErrorKind::NoPerm => {
            (Denied, NotApplied, "the server's ACL denies this user the command")
        }
        ServerErrorKind::BusyLoading => (Unavailable, NotApplied, "the server is loading its data"),
        ServerErrorKind::ReadOnly => {
            (Unavailable, NotApplied, "the server is a read-only replica; connect to the master")
        }
        ServerErrorKind::MasterDown => {
            (Unavailable, NotApplied, "the server is a replica that has lost its master")
        }
        ServerErrorKind::ClusterDown => (Unavailable, NotApplied, "the cluster is down"),
        ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::TryAgain => {
            (Unavailable, NotApplied, "the key is being moved to another cluster node")
        }
        ServerErrorKind::NoScript => {
            (Unavailable, NotApplied, "the server lost its scripts again while they were loaded")
        }
        ServerErrorKind::CrossSlot => {
            (Misconfigured, NotApplied, "the keys of one lock are in different cluster slots")
        }
        _ => classify_code(error.code().unwrap_or_default()),
    }
}

/// Classifies the server's errors without a kind in the driver, by their first word.
fn classify_code(code: &str) -> (ErrorKind, Effect, &'static str) {
    use Effect::{NotApplied, Unknown};
    use ErrorKind::{Denied, Foreign, Unavailable};
    match code {
        "NOAUTH" => (Denied, NotApplied, "the server requires a password"),
        "WRONGPASS" => (Denied, NotApplied, "the server refused the user name or password"),
        "NOPERM" => (Denied, NotApplied, "the server's ACL denies this user the command"),
        "OOM" => (Unavailable, NotApplied, "the server is out of memory"),
        "BUSY" => (Unavailable, NotApplied, "the server is busy with a script"),
        "MISCONF" => {
            (Unavailable, NotApplied, "the server cannot save its data and refuses to write")
        }
        "NOREPLICAS" => {
            (Unavailable, NotApplied, "the server has too few replicas to accept a write")
        }
        "WRONGTYPE" => (Foreign, NotApplied, "the key holds another type of data"),
        _ => (Unavailable, Unknown, "the server answered with an error"),
    }
}

#[cfg(test)]
mod tests {
    use redis::Value;
    use redis::aio::MultiplexedConnection;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Translates an error line of the server, as the driver reads it.
    fn from_server(line: &str) -> Error {
        let wire = format!("-{line}\r\n");
        let value = redis::parse_redis_value(wire.as_bytes()).unwrap();
        translate(value.extract_error().unwrap_err())
    }

    #[test]
    fn w3_r26_r28_r29_r30_every_server_error_has_a_kind_and_says_whether_it_took_effect() {
        use Effect::{NotApplied, Unknown};
        use ErrorKind::{Denied, Foreign, Misconfigured, Unavailable};
        for (line, kind, effect) in [
            ("OOM command not allowed when used memory > 'maxmemory'.", Unavailable, NotApplied),
            ("READONLY You can't write against a read only replica.", Unavailable, NotApplied),
            ("LOADING Redis is loading the dataset in memory", Unavailable, NotApplied),
            ("MASTERDOWN Link with MASTER is down", Unavailable, NotApplied),
            ("CLUSTERDOWN The cluster is down", Unavailable, NotApplied),
            ("TRYAGAIN Multiple keys request during rehashing of slot", Unavailable, NotApplied),
            ("MOVED 3999 127.0.0.1:6381", Unavailable, NotApplied),
            ("ASK 3999 127.0.0.1:6381", Unavailable, NotApplied),
            ("NOREPLICAS Not enough good replicas to write.", Unavailable, NotApplied),
            ("MISCONF Redis is configured to save RDB snapshots", Unavailable, NotApplied),
            ("BUSY Redis is busy running a script.", Unavailable, NotApplied),
            ("NOSCRIPT No matching script.", Unavailable, NotApplied),
            ("NOAUTH Authentication required.", Denied, NotApplied),
            ("WRONGPASS invalid username-password pair", Denied, NotApplied),
            ("NOPERM this user has no permissions to run 'evalsha'", Denied, NotApplied),
            ("CROSSSLOT Keys in request don't hash to the same slot", Misconfigured, NotApplied),
            ("WRONGTYPE Operation against a key", Foreign, NotApplied),
            ("ERR The user executing the script can't run this command", Denied, Unknown),
            ("ERR something new", Unavailable, Unknown),
        ] {
            let error = from_server(line);
            assert_eq!((error.kind(), error.effect()), (kind, effect), "{line}: {error}");
            assert!(std::error::Error::source(&error).is_some(), "the source is kept");
        }
    }

    #[test]
    fn the_effect_is_unknown_after_an_error_of_the_connection_unless_nothing_was_sent() {
        let io = |kind| translate(RedisError::from(std::io::Error::from(kind)));
        assert_eq!(io(std::io::ErrorKind::ConnectionRefused).effect(), Effect::NotApplied);
        for kind in [
            std::io::ErrorKind::BrokenPipe,
            std::io::ErrorKind::ConnectionReset,
            std::io::ErrorKind::UnexpectedEof,
            std::io::ErrorKind::TimedOut,
        ] {
            assert_eq!(io(kind).effect(), Effect::Unknown, "{kind:?}");
            assert!(io(kind).is_unavailable(), "{kind:?}");
        }
    }

    /// Sends some commands, answers them with these bytes, and closes the connection.
    async fn answer(bytes: &[u8], commands: usize) -> Result<Value, Error> {
        let (client, mut server) = tokio::io::duplex(4096);
        let plain = redis::RedisConnectionInfo::default().set_skip_set_lib_name();
        let plain = plain.set_protocol(redis::ProtocolVersion::RESP2);
        let config = redis::AsyncConnectionConfig::new();
        let opened = MultiplexedConnection::new_with_config(&plain, client, config).await;
        let (mut connection, driver) = opened.unwrap();
        tokio::spawn(driver);
        let asking = async {
            let command = redis::cmd("EVALSHA");
            if commands == 1 {
                return command.query_async(&mut connection).await;
            }
            let mut together = redis::pipe();
            for _ in 0..commands {
                together.add_command(command.clone());
            }
            together.query_async(&mut connection).await
        };
        let answering = async {
            server.read_u8().await.unwrap();
            server.write_all(bytes).await.unwrap();
            drop(server);
        };
        tokio::join!(asking, answering).0.map_err(translate)
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_anywhere_is_a_lost_connection() {
        for whole in [
            ":1\r\n",
            "+OK\r\n",
            "$16\r\n1795545494134512\r\n",
            "$-1\r\n",
            "*3\r\n$4\r\nheld\r\n:-1\r\n*2\r\n$1\r\na\r\n_\r\n",
            "-NOSCRIPT No matching script. Please use EVAL.\r\n",
            "%1\r\n$5\r\nproto\r\n:3\r\n",
            "=7\r\ntxt:abc\r\n",
            ">2\r\n$9\r\nsubscribe\r\n:1\r\n",
        ] {
            for length in 0..whole.len() {
                for (text, commands) in [(whole.to_owned(), 1), (format!(":1\r\n{whole}"), 2)] {
                    let cut = &text[..text.len() - whole.len() + length];
                    let error = answer(cut.as_bytes(), commands).await.unwrap_err();
                    let found = (error.kind(), error.effect());
                    assert_eq!(
                        found,
                        (ErrorKind::Unavailable, Effect::Unknown),
                        "{cut:?}: {error:?}"
                    );
                }
            }
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_complete_and_malformed_is_corrupt() {
        for malformed in
            ["HTTP/1.1 400 Bad Request\r\n", ":one\r\n", "*1\r\n?\r\n", "$1\r\n\r\n\r\n"]
        {
            let error = answer(malformed.as_bytes(), 1).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{malformed:?}: {error:?}");
        }
        let words = Value::BulkString(b"Parse error at 0\nUnexpected end of input\n".to_vec());
        let error = redis::from_redis_value::<u32>(words).unwrap_err();
        assert_eq!(translate(error.into()).kind(), ErrorKind::Corrupt);
    }
}
