//! A connection of its own for one channel.

use anyhow::Result;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, PushKind, Value, from_redis_value};

/// Subscribes to a channel; `hear` gets each message in the connection's own task.
///
/// Dropping the connection ends the subscription.
pub(super) async fn subscribe(
    url: &str,
    channel: &str,
    hear: impl Fn(String) + Send + Sync + 'static,
) -> Result<MultiplexedConnection> {
    let told = move |push: PushInfo| {
        let mut data = push.data.into_iter();
        if push.kind == PushKind::Message
            && let Some(message @ Value::BulkString(_)) = data.nth(1)
            && let Ok(message) = from_redis_value(message)
        {
            hear(message);
        }
        Ok::<_, std::convert::Infallible>(())
    };
    let config = AsyncConnectionConfig::new().set_push_sender(told);
    let client = redis::Client::open(format!("{url}?protocol=resp3"))?;
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    connection.subscribe(channel).await?;
    Ok(connection)
}
