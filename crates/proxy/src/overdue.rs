//! What takes too long is looked for once in a while: a timer for each request, started and stopped thousands of times
//! a second for limits of minutes, would cost more than the gates do.

use crate::proxy::Proxy;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Limits are kept to a sixteenth, or to a second where that is less.
const SHARE: u32 = 16;
const COARSEST: Duration = Duration::from_secs(1);
const FINEST: Duration = Duration::from_millis(10);

/// Ends what is overdue, for as long as the proxy runs; rests while there is no client.
pub(crate) async fn end(proxy: Rc<Proxy>) {
    let idle = proxy.config.client_idle.as_duration();
    let answer = proxy.config.answer.as_duration();
    let pause = (idle.min(answer) / SHARE).clamp(FINEST, COARSEST);
    loop {
        proxy.clients.until_some().await;
        tokio::time::sleep(pause).await;
        let now = Instant::now();
        proxy.clients.close_idle(now, idle);
        proxy.gates.give_up_overdue(now, answer);
    }
}
