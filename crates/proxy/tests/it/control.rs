//! The control socket.

use crate::world::*;
use everup_core::gate::{Drained, Idle, NotHolding, Passing};
use everup_core::seams::Gate;
use everup_core::time::Millis;
use everup_proxy::Config;
use everup_proxy::control::{Client, ControlError};
use std::os::unix::fs::PermissionsExt;

fn nowhere() -> std::net::SocketAddr {
    "127.0.0.1:9".parse().unwrap()
}

#[test]
fn a_slot_goes_through_a_deployment() {
    test(async {
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", Some(nowhere())).await;
        let gate = proxy.client.gate(id.clone());
        assert_eq!(gate.seal(None).await.unwrap(), Err(NotHolding));
        gate.hold(&hold(1)).await.unwrap();
        assert_eq!(gate.idle(Millis::from_secs(9)).await.unwrap(), Idle::Yes);
        assert_eq!(gate.counts().await.unwrap().passing, Passing::Held);
        assert_eq!(gate.seal(Some(&hold(1).id)).await.unwrap(), Ok(()));
        gate.switch(&upstream(nowhere(), "second")).await.unwrap();
        gate.release().await.unwrap();
        assert!(gate.hold(&hold(0)).await.is_err(), "an older order");
        assert_eq!(gate.drain(&drain(Millis::from_secs(9))).await.unwrap(), Drained::default());
        assert_eq!(gate.counts().await.unwrap().passing, Passing::Shut);
    });
}

#[test]
fn who_watches_the_slots_is_told_of_every_change() {
    test(async {
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", None).await;
        let first = proxy.client.slots(0, Millis::ZERO).await.unwrap();
        assert!(first.slots[0].balanced && first.slots[0].upstream.is_none());
        let watch = proxy.client.slots(first.seq, Millis::from_secs(25));
        let (second, left) = tokio::join!(watch, proxy.client.leave(&id));
        left.unwrap();
        assert!(!second.unwrap().slots[0].balanced);
        proxy.client.remove_slot(&id).await.unwrap();
        assert!(proxy.client.slots(0, Millis::ZERO).await.unwrap().slots.is_empty());
    });
}

#[test]
fn a_gate_sends_to_its_own_machine_only() {
    test(async {
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", None).await;
        let elsewhere = upstream("192.0.2.7:80".parse().unwrap(), "s");
        let refused = proxy.client.gate(id).switch(&elsewhere).await.unwrap_err();
        assert!(refused.0.contains("192.0.2.7:80 is not an address of this machine"), "{refused}");
    });
}

#[test]
fn after_a_crash_a_seal_is_a_seal_and_a_hold_has_ended() {
    test(async {
        let proxy = Running::start(Config::default()).await;
        for name in ["held", "shut", "sealed", "open"] {
            proxy.add(name, Some(nowhere())).await;
        }
        proxy.client.leave(&id("open")).await.unwrap();
        let gate = |name| proxy.client.gate(id(name));
        gate("held").hold(&hold(7)).await.unwrap();
        gate("shut").drain(&drain(Millis::from_secs(9))).await.unwrap();
        gate("sealed").hold(&hold(7)).await.unwrap();
        gate("sealed").seal(Some(&hold(7).id)).await.unwrap().unwrap();
        let proxy = proxy.restart().await;
        let slots = proxy.client.slots(0, Millis::ZERO).await.unwrap().slots;
        let passing: Vec<_> = slots.iter().map(|s| (s.id.as_str(), s.counts.passing, s.balanced)).collect();
        assert_eq!(
            passing,
            [
                ("held", Passing::Open, true),
                ("open", Passing::Open, false),
                ("sealed", Passing::Sealed, true),
                ("shut", Passing::Shut, true)
            ]
        );
        assert!(proxy.client.gate(id("held")).hold(&hold(6)).await.is_err(), "its fence is kept");
    });
}

#[test]
fn a_client_outlives_the_proxy_that_it_spoke_to() {
    test(async {
        let proxy = Running::start(Config::default()).await;
        let id = proxy.add("i-1", None).await;
        let gate = proxy.client.gate(id);
        gate.counts().await.unwrap();
        let proxy = proxy.restart().await;
        gate.counts().await.unwrap();
        drop(proxy);
    });
}

#[test]
fn the_socket_is_for_its_user_alone() {
    test(async {
        let proxy = Running::start(Config::default()).await;
        let mode = std::fs::metadata(proxy.client.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    });
}

#[test]
fn nobody_behind_the_socket_is_said_so() {
    test(async {
        let folder = tempfile::tempdir().unwrap();
        let silent = Client::new(folder.path().join("none.sock")).hello().await.unwrap_err();
        assert!(matches!(silent, ControlError::Silent { .. }));
        assert!(silent.to_string().contains("none.sock"), "{silent}");
    });
}
