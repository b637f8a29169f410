//! One call of a script by its hash, and in full to a server that does not know the script.

use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Arg, Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, ToRedisArgs, Value};

/// A script, and the hash by which a server knows it once it has run it.
pub(crate) struct Script {
    text: String,
    sha: String,
}

impl Script {
    pub(crate) fn new(text: String) -> Self {
        let sha = redis::Script::new(&text).get_hash().to_owned();
        Self { text, sha }
    }
}

/// One call of a script. It is encoded once, because this takes much of the time of a request.
pub(crate) struct Call<'a> {
    /// Sent in full to a server that does not know its hash.
    script: &'a Script,
    /// `EVALSHA` with the hash, the keys and the arguments.
    command: Cmd,
    /// The last argument is still missing, because only the connection knows it: the server's
    /// process.
    names_process: bool,
}

impl<'a> Call<'a> {
    pub(crate) fn new<const N: usize>(script: &'a Script, keys: [&str; N]) -> Self {
        // With room for the arguments, so that the command need not be reallocated.
        let room = script.sha.len() + keys.iter().map(|key| key.len()).sum::<usize>() + 128;
        let mut command = Cmd::with_capacity(N + 9, room);
        command.arg("EVALSHA").arg(&script.sha).arg(N).arg(&keys);
        Self { script, command, names_process: false }
    }

    /// Returns the first key; all keys are in its slot.
    #[cfg(feature = "cluster")]
    pub(crate) fn first_key(&self) -> &str {
        match self.command.args_iter().nth(3) {
            Some(Arg::Simple(key)) => std::str::from_utf8(key).unwrap_or_default(),
            _ => "",
        }
    }

    pub(crate) fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        self.command.arg(argument);
        self
    }

    /// Requests that the process of the server is added as the last argument.
    pub(crate) fn name_process(&mut self) {
        self.names_process = true;
    }

    /// Returns the command for a server that knows the script.
    pub(crate) fn command(self) -> Cmd {
        self.command
    }

    /// Adds the process of the connection's server, if it was requested.
    pub(crate) fn bind(&mut self, process: Option<&str>) {
        if self.names_process {
            self.command.arg(process.unwrap_or_default());
        }
    }

    /// Runs the script; sends it in full if the server does not know it.
    pub(crate) async fn run(&self, connection: &mut impl ConnectionLike) -> RedisResult<Value> {
        match self.command.query_async(connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.in_full().query_async(connection).await
            }
            answer => answer,
        }
    }

    /// Runs the script, and waits until `replicas` replicas have what it wrote, or until `limit`
    /// has passed. Returns the answer, and how many replicas have it. The server counts per
    /// connection, so both commands go over the same one.
    pub(crate) async fn run_and_wait(
        &self,
        connection: &mut impl ConnectionLike,
        replicas: u32,
        limit: Duration,
    ) -> RedisResult<(Value, u32)> {
        let both = |command: Cmd| {
            let mut pipeline = redis::pipe();
            pipeline.add_command(command).cmd("WAIT").arg(replicas).arg(limit.as_millis());
            pipeline
        };
        match both(self.command.clone()).query_async(connection).await.map_err(first) {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                both(self.in_full()).query_async(connection).await.map_err(first)
            }
            answer => answer,
        }
    }

    /// Returns the same call with the script's text instead of its hash. `SCRIPT LOAD` would go to
    /// all nodes of a cluster, and fail if any of them fails. This goes only to the node that has
    /// the keys, and takes one round trip less.
    fn in_full(&self) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(&self.script.text);
        for argument in self.command.args_iter().skip(2) {
            if let Arg::Simple(argument) = argument {
                command.arg(argument);
            }
        }
        command
    }
}

/// Returns the first of the server's errors in the answer to a pipeline.
fn first(error: RedisError) -> RedisError {
    match error.clone().into_server_errors() {
        Some(errors) => errors.first().map_or(error, |(_, refusal)| refusal.clone().into()),
        None => error,
    }
}
