//! Which instance gets a request.

use crate::app::*;
use crate::client::*;
use crate::world::*;
use everup_core::seams::Gate;
use everup_proxy::Config;
use std::rc::Rc;
use tokio::sync::Notify;

#[test]
fn the_one_with_fewest_in_flight_gets_the_next() {
    test(async {
        let go = Rc::new(Notify::new());
        let wait = Rc::clone(&go);
        let slow = App::start(move |_| {
            let go = Rc::clone(&wait);
            async move {
                go.notified().await;
                text("slow")
            }
        })
        .await;
        let quick = App::named("quick").await;
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(slow.address)).await;
        let address = proxy.address;
        let stuck = tokio::task::spawn_local(async move { get(address, "/").await });
        proxy.until(&id, |c| c.in_flight == 1).await;
        proxy.add("i-2", Some(quick.address)).await;
        for _ in 0..10 {
            assert_eq!(get(proxy.address, "/").await.text(), "quick");
        }
        go.notify_one();
        assert_eq!(stuck.await.unwrap().text(), "slow");
    });
}

#[test]
fn idle_instances_take_turns() {
    test(async {
        let (one, two) = (App::named("one").await, App::named("two").await);
        let proxy = Running::start(Config::default()).await;
        proxy.add("i-1", Some(one.address)).await;
        proxy.add("i-2", Some(two.address)).await;
        let mut last = String::new();
        for _ in 0..6 {
            let reply = get(proxy.address, "/").await.text().to_owned();
            assert_ne!(reply, last);
            last = reply;
        }
    });
}

#[test]
fn an_instance_gets_nothing_before_it_joins_and_after_it_has_left() {
    test(async {
        let (one, two) = (App::named("one").await, App::named("two").await);
        let proxy = Running::start(Config::default()).await;
        let first = proxy.add("i-1", Some(one.address)).await;
        let second = proxy.add("i-2", None).await;
        proxy.client.leave(&second).await.unwrap();
        let gate = proxy.client.gate(second.clone());
        gate.switch(&upstream(two.address, "s")).await.unwrap();
        gate.release().await.unwrap();
        for _ in 0..4 {
            assert_eq!(get(proxy.address, "/").await.text(), "one");
        }
        proxy.client.join(&second).await.unwrap();
        proxy.client.leave(&first).await.unwrap();
        for _ in 0..4 {
            assert_eq!(get(proxy.address, "/").await.text(), "two");
        }
        proxy.client.remove_slot(&second).await.unwrap();
        assert_eq!(get(proxy.address, "/").await.text(), "one", "rather one that left than nobody");
    });
}
