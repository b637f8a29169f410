//! A subscription to one channel, on a connection of its own.

use anyhow::Result;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, PushKind, Value, from_redis_value};

/// Subscribes to a channel. The task of the connection calls `receive` with each message.
///
/// Dropping the connection ends the subscription.
pub(super) async fn subscribe(
    url: &str,
    channel: &str,
    receive: impl Fn(String) + Send + Sync + 'static,
) -> Result<MultiplexedConnection> {
    let pushed = move |push: PushInfo| {
        let mut data = push.data.into_iter();
        if push.kind == PushKind::Message
            && let Some(message @ Value::BulkString(_)) = data.nth(1)
            && let Ok(message) = from_redis_value(message)
        {
            receive(message);
        }
        Ok::<_, std::convert::Infallible>(())
    };
    let config = AsyncConnectionConfig::new().set_push_sender(pushed);
    let client = redis::Client::open(format!("{url}?protocol=resp3"))?;
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    connection.subscribe(channel).await?;
    Ok(connection)
}
