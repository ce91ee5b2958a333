//! Each part is stopped or killed in its turn, under load, and comes back.

use super::deployment::Deployment;
use crate::load::Load;
use std::time::{Duration, Instant};

/// How long a part is away.
const AWAY: Duration = Duration::from_millis(700);
/// Until transactions are mined again after a part came back.
const RECOVERY: Duration = Duration::from_secs(20);

/// How a part ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// SIGTERM.
    Restart,
    /// `kill -9`.
    Kill,
}

pub(super) async fn one_after_another(how: How) {
    let mut deployment = Deployment::start().await;
    let mut load = Load::start(deployment.urls()).await;
    for part in deployment.parts() {
        deployment.end_part(&part, how == How::Kill).await;
        tokio::time::sleep(AWAY).await;
        let back = Instant::now();
        deployment.start_part(&part).await;
        let ready = back.elapsed();
        load.progress(&format!("after {how:?} of {part}"), RECOVERY).await;
        println!("{how:?} of {part}: ready after {ready:.1?}, mining after {:.1?}", back.elapsed());
    }
    load.finish().await;
    deployment.end().await;
}
