//! The events of a `chain` in another process, as a bus to follow.

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use quintet_chain_api::{ChainClient, ChainError, ChainUpdate, EventStream};
use quintet_events::{BusError, Event, EventBus, Gap, Subscription, Topics};
use quintet_types::BlockRef;
use std::time::Duration;

/// Between attempts to connect.
const RECONNECT_DELAY: Duration = Duration::from_millis(500);

/// Follows `ChainService/StreamEvents`, and connects again when the stream breaks. Each break is a gap.
#[derive(Clone, Debug)]
pub struct ChainFeed {
    chain: ChainClient,
}

impl ChainFeed {
    /// The events of this `chain`.
    pub const fn new(chain: ChainClient) -> Self {
        Self { chain }
    }
}

impl EventBus for ChainFeed {
    fn publish(&self, _event: Event) -> BoxFuture<'_, Result<(), BusError>> {
        std::future::ready(Err(BusError::Unavailable("only chain publishes on its stream".into()))).boxed()
    }

    fn subscribe(&self, topics: Topics, cursor: Option<BlockRef>) -> Subscription {
        let follower = Follower { chain: self.chain.clone(), topics, cursor, stream: None };
        let events = stream::unfold(follower, |mut follower| async move {
            let item = follower.next().await;
            Some((item, follower))
        });
        // `chain` drops what this side is too slow for, and does not say how much.
        Subscription::new(events, std::sync::Arc::default())
    }
}

struct Follower {
    chain: ChainClient,
    topics: Topics,
    cursor: Option<BlockRef>,
    stream: Option<EventStream>,
}

impl Follower {
    async fn next(&mut self) -> Result<Event, Gap> {
        loop {
            let Some(stream) = &mut self.stream else {
                let cursor = self.cursor.take();
                match self.chain.events(cursor, self.topics.pool).await {
                    Ok(stream) => self.stream = Some(stream),
                    Err(error) => self.disconnected(Some(error)).await,
                }
                // What came before the stream began was missed, unless it begins at the cursor.
                if self.stream.is_some() && cursor.is_none() {
                    return Err(Gap { head: None });
                }
                continue;
            };
            match stream.next().await {
                Some(Ok(ChainUpdate::Chain(event))) if self.topics.chain => return Ok(event.into()),
                Some(Ok(ChainUpdate::Pool(event))) if self.topics.pool => return Ok(event.into()),
                Some(Ok(ChainUpdate::Gap(head))) if self.topics.chain => {
                    return Err(Gap { head: Some(head) });
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => self.disconnected(Some(error)).await,
                None => self.disconnected(None).await,
            }
        }
    }

    async fn disconnected(&mut self, error: Option<ChainError>) {
        self.stream = None;
        tracing::debug!(error = error.map(|error| error.to_string()), "no event stream of chain");
        tokio::time::sleep(RECONNECT_DELAY).await;
    }
}
