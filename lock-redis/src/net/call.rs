//! One call of a script: how it is packed, and what is sent where the server does not know the script.

use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Arg, Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, ToRedisArgs, Value};

/// A script, and the name that the server has for it once it has run it.
pub(crate) struct Script {
    text: String,
    /// The hash of the text, by which the server knows it.
    sha: String,
}

impl Script {
    pub(crate) fn new(text: String) -> Self {
        let sha = redis::Script::new(&text).get_hash().to_owned();
        Self { text, sha }
    }
}

/// One call of a script, packed once: a lock is as fast as this is short.
pub(crate) struct Call<'a> {
    /// Sent in full where the server does not know it by the name in the command.
    script: &'a Script,
    /// `EVALSHA` with the script's name, the keys and the arguments.
    command: Cmd,
    /// The last argument is still missing: only the connection that the call goes over knows it.
    names_process: bool,
}

impl<'a> Call<'a> {
    pub(crate) fn new<const N: usize>(script: &'a Script, keys: [&str; N]) -> Self {
        // Room for the arguments as well, so that it need not grow.
        let room = script.sha.len() + keys.iter().map(|key| key.len()).sum::<usize>() + 128;
        let mut command = Cmd::with_capacity(N + 9, room);
        command.arg("EVALSHA").arg(&script.sha).arg(N).arg(&keys);
        Self { script, command, names_process: false }
    }

    /// The key whose slot all of them are in.
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

    /// Says that the last argument is the process of the server that the call is sent to.
    pub(crate) fn name_process(&mut self) {
        self.names_process = true;
    }

    /// Returns what is sent to a server that knows the script.
    pub(crate) fn command(self) -> Cmd {
        self.command
    }

    /// Binds the call to a connection to this process.
    pub(crate) fn bind(&mut self, process: Option<&str>) {
        if self.names_process {
            self.command.arg(process.unwrap_or_default());
        }
    }

    /// Runs the script; sends all of it where the server does not know it.
    pub(crate) async fn run(&self, connection: &mut impl ConnectionLike) -> RedisResult<Value> {
        match self.command.query_async(connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.in_full().query_async(connection).await
            }
            answer => answer,
        }
    }

    /// Runs the script, and returns besides how many replicas have all that it wrote, at the latest
    /// after `limit`. The server counts by connection, so both go over the same one.
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

    /// The same call with the script's text instead of its name. `SCRIPT LOAD` would go to all nodes of a
    /// cluster and fail with any of them; this goes to the one that has the keys, in one round trip less.
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

/// What the server said first of the commands of a pipeline that it has refused.
fn first(error: RedisError) -> RedisError {
    match error.clone().into_server_errors() {
        Some(errors) => errors.first().map_or(error, |(_, refusal)| refusal.clone().into()),
        None => error,
    }
}
