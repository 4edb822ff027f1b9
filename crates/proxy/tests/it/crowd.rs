//! C39: more clients than there are descriptors for.

use crate::app::App;
use crate::client::{Conversation, get};
use crate::world::{Running, test};
use everup_proxy::Config;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use tokio::net::TcpStream;

/// Idle clients; more than the proxy below may have descriptors.
const IDLE: usize = 500;

/// Where the app is; set in the process that is the proxy.
const APP: &str = "EVERUP_TEST_CROWD_APP";

/// A proxy in a process of its own, with room for 128 descriptors.
struct Cramped(Child, SocketAddr);

impl Cramped {
    fn start(app: SocketAddr) -> Self {
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -n 128 && exec \"$0\" --exact crowd::idle_clients_make_room --nocapture"]);
        command.arg(std::env::current_exe().unwrap()).env(APP, app.to_string()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let address = lines.into_iter().find_map(|line| line.rsplit_once("serves at ")?.1.parse().ok());
        Self(child, address.expect("the proxy says where it listens"))
    }
}

impl Drop for Cramped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(clippy::print_stdout, reason = "it is how one process tells the other")]
async fn be_the_proxy(app: SocketAddr) {
    let proxy = Running::start(Config::default()).await;
    proxy.add("i-1", Some(app)).await;
    println!("serves at {}", proxy.address);
    std::future::pending::<()>().await;
}

/// Clients that use their connections keep them, those that do not make room, and so everybody is served.
#[test]
fn idle_clients_make_room() {
    if let Some(app) = std::env::var(APP).ok().and_then(|app| app.parse().ok()) {
        return test(be_the_proxy(app));
    }
    test(async {
        let app = App::named("one").await;
        let proxy = Cramped::start(app.address);
        let mut busy = Conversation::open(proxy.1).await.unwrap();
        let mut idle = Vec::new();
        for n in 0..IDLE {
            idle.push(TcpStream::connect(proxy.1).await.unwrap());
            if n % 10 == 0 {
                assert_eq!(busy.say("GET", "/", "").await.unwrap().text(), "one", "after {n} others");
                assert_eq!(get(proxy.1, "/.everup/health").await.text(), "ok\n");
            }
        }
        let (oldest, newest) = (&idle[0], &idle[IDLE - 1]);
        oldest.readable().await.unwrap();
        assert_eq!(oldest.try_read(&mut [0]).unwrap(), 0, "it was closed to make room");
        assert_eq!(newest.try_read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        drop(idle);
        let mut others = Vec::new();
        for _ in 0..20 {
            others.push(Conversation::open(proxy.1).await.unwrap());
        }
        for other in &mut others {
            assert_eq!(other.say("GET", "/", "").await.unwrap().text(), "one");
        }
        assert_eq!(busy.say("GET", "/", "").await.unwrap().text(), "one");
    });
}
