//! Each transition of a gate by itself; what holds over all orders of events is in [`laws`].

mod laws;
mod slots;

use super::machine::*;
use super::*;
use crate::ids::{Rev, Term};
use crate::time::Mono;

pub(super) fn upstream(name: &str) -> Upstream {
    Upstream { address: "127.0.0.1:8000".parse().unwrap(), start: StartId::new(name).unwrap() }
}

pub(super) fn fence(rev: u64) -> Fence {
    Fence { term: Term(1), rev: Rev(rev) }
}

pub(super) fn limits() -> HoldLimits {
    HoldLimits { wait: Millis(1_000), requests: 3, bytes: 100 }
}

pub(super) fn hold(id: &str, rev: u64) -> Hold {
    Hold { id: HoldId::new(id).unwrap(), fence: fence(rev), lapse: Millis(500), limits: limits() }
}

pub(super) fn drain(within: u64, quiet: u64) -> Drain {
    Drain { within: Millis(within), quiet: Millis(quiet), limits: limits() }
}

fn open() -> Machine {
    Machine::new(&Kept::open(upstream("one"), true), limits())
}

fn passes(arrival: Arrival) -> Pass {
    match arrival {
        Arrival::Pass(pass) => pass,
        other => panic!("it should pass, not {other:?}"),
    }
}

fn waits(arrival: Arrival) -> Ticket {
    match arrival {
        Arrival::Wait(ticket) => ticket,
        other => panic!("it should wait, not {other:?}"),
    }
}

fn let_go(machine: &mut Machine) -> Vec<Pass> {
    let go = |event| if let Event::LetGo(pass, _) = event { Some(pass) } else { None };
    machine.events().into_iter().filter_map(go).collect()
}

#[test]
fn an_open_gate_passes_and_counts() {
    let mut gate = open();
    let pass = passes(gate.arrive(Mono(0), 1));
    assert_eq!(gate.counts().in_flight, 1);
    gate.answered(Mono(1), pass);
    assert_eq!(gate.counts().in_flight, 0);
}

#[test]
fn a_hold_keeps_new_ones_and_lets_those_inside_end() {
    let mut gate = open();
    let inside = passes(gate.arrive(Mono(0), 1));
    gate.hold(Mono(0), &hold("h", 1)).unwrap();
    waits(gate.arrive(Mono(1), 1));
    gate.answered(Mono(2), inside);
    assert_eq!(gate.events().len(), 1, "idle, and nobody let go");
    assert!(gate.idle());
}

#[test]
fn a_hold_that_is_not_renewed_opens_by_itself() {
    let mut gate = open();
    gate.hold(Mono(0), &hold("h", 1)).unwrap();
    let ticket = waits(gate.arrive(Mono(1), 1));
    assert_eq!(gate.next_deadline(), Some(Mono(500)));
    gate.hold(Mono(400), &hold("h", 1)).unwrap();
    gate.tick(Mono(500));
    assert_eq!(gate.counts().passing, Passing::Held, "it was renewed");
    gate.tick(Mono(900));
    assert_eq!(gate.counts().passing, Passing::Open);
    assert_eq!(let_go(&mut gate)[0].ticket, ticket);
    assert_eq!(gate.seal(Mono(900), Some(&HoldId::new("h").unwrap())), Err(NotHolding));
}

#[test]
fn a_seal_needs_the_living_hold() {
    let id = HoldId::new("h").unwrap();
    let mut gate = open();
    assert_eq!(gate.seal(Mono(0), Some(&id)), Err(NotHolding));
    assert_eq!(gate.seal(Mono(0), None), Err(NotHolding), "it has an app");
    gate.hold(Mono(0), &hold("h", 1)).unwrap();
    assert_eq!(gate.seal(Mono(1), Some(&HoldId::new("other").unwrap())), Err(NotHolding));
    assert_eq!(gate.seal(Mono(500), Some(&id)), Err(NotHolding), "lapsed, though nobody has looked yet");
    gate.hold(Mono(500), &hold("h", 1)).unwrap();
    gate.seal(Mono(501), Some(&id)).unwrap();
    gate.seal(Mono(502), Some(&id)).unwrap();
    assert_eq!(gate.next_deadline(), None, "no time-out ends a seal");
}

#[test]
fn a_gate_without_an_app_is_sealed_at_once_and_opens_only_to_one() {
    let mut gate = Machine::new(&Kept::expected(true), limits());
    gate.seal(Mono(0), None).unwrap();
    assert_eq!(gate.release(Mono(0)), Err(NoUpstream));
    gate.switch(&upstream("one"));
    waits(gate.arrive(Mono(0), 1));
    gate.release(Mono(1)).unwrap();
    assert_eq!(let_go(&mut gate).len(), 1);
}

#[test]
fn a_sealed_gate_refuses_a_hold() {
    let mut gate = Machine::new(&Kept::expected(true), limits());
    gate.seal(Mono(0), None).unwrap();
    assert_eq!(gate.hold(Mono(0), &hold("h", 9)), Err(HoldRefused::Sealed));
}

#[test]
fn an_older_hold_changes_nothing() {
    let mut gate = open();
    gate.hold(Mono(0), &hold("h", 5)).unwrap();
    gate.release(Mono(1)).unwrap();
    assert!(matches!(gate.hold(Mono(2), &hold("late", 4)), Err(HoldRefused::Older { .. })));
    assert_eq!(gate.counts().passing, Passing::Open);
    let kept = Machine::new(&gate.kept(), limits()).hold(Mono(0), &hold("late", 4));
    assert!(kept.is_err(), "also after a restart");
}

#[test]
fn a_hold_on_a_shut_gate_lapses_into_shut() {
    let mut gate = Machine::new(&Kept::expected(true), limits());
    gate.hold(Mono(0), &hold("h", 1)).unwrap();
    gate.tick(Mono(500));
    assert_eq!(gate.counts().passing, Passing::Shut);
}

#[test]
fn beyond_the_caps_it_is_refused_at_once() {
    let mut gate = open();
    gate.hold(Mono(0), &hold("h", 1)).unwrap();
    assert!(matches!(gate.arrive(Mono(0), 101), Arrival::Refuse(Refusal { reason: Why::Full, .. })));
    let tickets = [1, 1, 1].map(|n| waits(gate.arrive(Mono(0), n)));
    assert!(matches!(gate.arrive(Mono(0), 1), Arrival::Refuse(_)));
    assert_eq!(gate.left(tickets[1]), Some(Mono(0)));
    assert_eq!(gate.left(tickets[1]), None, "it left once");
    waits(gate.arrive(Mono(0), 98));
}

#[test]
fn who_waits_too_long_is_refused_though_the_hold_goes_on() {
    let mut gate = Machine::new(&Kept::expected(true), limits());
    let ticket = waits(gate.arrive(Mono(5), 1));
    assert_eq!(gate.next_deadline(), Some(Mono(1_005)));
    gate.tick(Mono(1_005));
    assert!(
        matches!(gate.events()[..], [Event::Expired(t, Refusal { reason: Why::TooLong, .. })] if t == ticket)
    );
}

#[test]
fn who_waited_is_let_go_as_fast_as_answers_come_and_nobody_overtakes() {
    let mut gate = Machine::new(&Kept::expected(true), HoldLimits { requests: 100, ..limits() });
    gate.switch(&upstream("one"));
    let tickets: Vec<_> = (0..11).map(|_| waits(gate.arrive(Mono(0), 1))).collect();
    gate.release(Mono(1)).unwrap();
    let mut inside = let_go(&mut gate);
    assert_eq!(inside.len(), 4);
    let late = waits(gate.arrive(Mono(2), 1));
    let mut order: Vec<_> = inside.iter().map(|p| p.ticket).collect();
    for at_once in 5..=8 {
        gate.answered(Mono(3), inside.remove(0));
        let next = let_go(&mut gate);
        order.extend(next.iter().map(|p| p.ticket));
        inside.extend(next);
        assert_eq!(inside.len(), at_once);
    }
    assert_eq!(order, [tickets.as_slice(), &[late]].concat());
}

#[test]
fn a_stream_frees_its_place_when_a_gate_opens() {
    let mut gate = Machine::new(&Kept::expected(true), HoldLimits { requests: 100, ..limits() });
    gate.switch(&upstream("one"));
    for _ in 0..6 {
        waits(gate.arrive(Mono(0), 1));
    }
    gate.release(Mono(1)).unwrap();
    let mut waves = let_go(&mut gate);
    assert_eq!(waves.len(), 4);
    let mut first = waves.remove(0);
    gate.streaming(Mono(2), &mut first);
    assert_eq!(let_go(&mut gate).len(), 2);
    assert_eq!(gate.counts().streams, 1);
}

#[test]
fn a_hold_that_lapses_lets_go_slowly_too_and_the_limit_ends_with_the_queue() {
    let mut gate = open();
    let many = HoldLimits { requests: 100, ..limits() };
    gate.hold(Mono(0), &Hold { limits: many, ..hold("h", 1) }).unwrap();
    for _ in 0..8 {
        waits(gate.arrive(Mono(0), 1));
    }
    gate.tick(Mono(500));
    let mut inside = let_go(&mut gate);
    assert_eq!(inside.len(), 4);
    for _ in 0..2 {
        gate.answered(Mono(501), inside.remove(0));
        inside.extend(let_go(&mut gate));
    }
    assert_eq!(inside.len(), 6, "all eight have passed");
    for _ in 0..100 {
        let _ = passes(gate.arrive(Mono(502), 1));
    }
}

#[test]
fn an_idle_gate_drains_at_once() {
    let mut gate = open();
    gate.drain(Mono(0), &drain(100, 0));
    assert_eq!(gate.counts().passing, Passing::Shut);
    assert!(matches!(gate.events()[..], [Event::Drained(_)]));
}

#[test]
fn a_drain_ends_when_those_from_before_it_are_out_though_others_come() {
    let mut gate = open();
    let elder = passes(gate.arrive(Mono(0), 1));
    gate.drain(Mono(1), &drain(1_000, 0));
    let late = passes(gate.arrive(Mono(2), 1));
    gate.answered(Mono(3), elder);
    waits(gate.arrive(Mono(4), 1));
    gate.answered(Mono(5), late);
    assert_eq!(gate.counts().passing, Passing::Shut);
}

#[test]
fn a_drain_waits_until_the_balancer_is_quiet() {
    let mut gate = open();
    gate.drain(Mono(0), &drain(1_000, 50));
    assert_eq!(gate.next_deadline(), Some(Mono(50)));
    let late = passes(gate.arrive(Mono(40), 1));
    gate.tick(Mono(50));
    gate.answered(Mono(60), late);
    gate.tick(Mono(89));
    assert_eq!(gate.counts().passing, Passing::Draining);
    gate.tick(Mono(90));
    assert_eq!(gate.counts().passing, Passing::Shut);
}

#[test]
fn at_the_deadline_what_remains_is_to_be_ended() {
    let mut gate = open();
    let stuck = passes(gate.arrive(Mono(0), 1));
    gate.drain(Mono(0), &drain(100, 0));
    waits(gate.arrive(Mono(60), 1));
    gate.tick(Mono(100));
    assert!(matches!(gate.events()[..], [Event::End(_)]));
    gate.answered(Mono(101), stuck);
    assert!(matches!(gate.events()[..], [Event::Drained(_)]));
    assert_eq!(gate.counts().passing, Passing::Shut);
}

#[test]
fn a_drain_can_be_taken_back() {
    let mut gate = open();
    let _inside = passes(gate.arrive(Mono(0), 1));
    gate.drain(Mono(0), &drain(100, 0));
    gate.release(Mono(1)).unwrap();
    assert!(matches!(gate.events()[..], [Event::TakenBack(_)]));
    assert_eq!(gate.next_deadline(), None);
}

#[test]
fn a_switch_lets_those_inside_end_where_they_are() {
    let mut gate = open();
    let old = passes(gate.arrive(Mono(0), 1));
    gate.switch(&upstream("two"));
    let new = passes(gate.arrive(Mono(1), 1));
    assert_ne!(old.epoch(), new.epoch());
    assert!(!gate.idle(), "the old app is not idle");
    gate.answered(Mono(2), old);
    assert!(gate.idle());
    assert_eq!((gate.counts().in_flight, gate.counts().former), (1, 0));
}

#[test]
fn what_is_kept_forgets_holds_and_drains_but_no_seal() {
    let mut gate = open();
    gate.hold(Mono(0), &hold("h", 1)).unwrap();
    assert_eq!(gate.kept().passing, Passing::Open);
    gate.seal(Mono(1), Some(&HoldId::new("h").unwrap())).unwrap();
    assert_eq!(gate.kept().passing, Passing::Sealed);
    assert_eq!(Machine::new(&gate.kept(), limits()).counts().passing, Passing::Sealed);
}
