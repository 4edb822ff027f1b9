//! Several gates with one queue.

use super::*;

fn two() -> (Balancer, SlotKey, SlotKey) {
    let mut gates = Balancer::new(limits());
    let a = gates.add(Mono(0), &Kept::open(upstream("a"), true));
    let b = gates.add(Mono(0), &Kept::open(upstream("b"), true));
    (gates, a, b)
}

#[test]
fn the_one_with_fewest_in_flight_is_chosen_and_ties_take_turns() {
    let (mut gates, a, b) = two();
    let first = passes(gates.arrive(Mono(0), 1));
    let second = passes(gates.arrive(Mono(0), 1));
    assert_eq!((first.slot, second.slot), (a, b));
    gates.answered(Mono(1), second);
    let third = passes(gates.arrive(Mono(1), 1));
    assert_eq!(third.slot, b);
    gates.answered(Mono(1), first);
    gates.answered(Mono(1), third);
    let fourth = passes(gates.arrive(Mono(1), 1));
    assert_eq!(fourth.slot, a, "not the same one again");
}

#[test]
fn a_request_waits_for_whichever_opens_first() {
    let (mut gates, a, b) = two();
    gates.hold(Mono(0), a, &hold("h", 1)).unwrap();
    assert_eq!(passes(gates.arrive(Mono(0), 1)).slot, b);
    gates.hold(Mono(0), b, &hold("h", 1)).unwrap();
    waits(gates.arrive(Mono(0), 1));
    gates.release(Mono(1), b).unwrap();
    assert!(matches!(&gates.events()[..], [Event::LetGo(pass, Millis(1))] if pass.slot == b));
}

#[test]
fn without_any_slot_it_is_refused() {
    let mut gates = Balancer::new(limits());
    assert!(matches!(gates.arrive(Mono(0), 1), Arrival::Refuse(Refusal { reason: Why::NoSlot, .. })));
    let slot = gates.add(Mono(0), &Kept::expected(false));
    waits(gates.arrive(Mono(0), 1));
    gates.remove(Mono(0), slot);
    assert!(matches!(gates.events()[..], [Event::Expired(..)]));
}

#[test]
fn a_slot_that_left_is_a_way_out_and_one_that_never_joined_is_not() {
    let (mut gates, a, b) = two();
    gates.balance(Mono(0), a, false);
    assert_eq!(passes(gates.arrive(Mono(0), 1)).slot, b);
    gates.drain(Mono(0), b, &drain(1_000, 0));
    assert_eq!(passes(gates.arrive(Mono(0), 1)).slot, a, "rather than wait");
    gates.switch(a, &upstream("new"));
    assert_eq!(passes(gates.arrive(Mono(0), 1)).slot, b, "the new app is not in the balancer yet");
    gates.balance(Mono(0), a, true);
    assert_eq!(passes(gates.arrive(Mono(0), 1)).slot, a);
}

#[test]
fn what_was_never_sent_goes_elsewhere() {
    let (mut gates, a, b) = two();
    let pass = passes(gates.arrive(Mono(0), 1));
    let other = passes(gates.unreachable(Mono(0), pass, &[a], 1));
    assert_eq!(other.slot, b);
    assert_eq!(gates.counts(a).unwrap().in_flight, 0);
    for _ in 0..3 {
        assert_eq!(passes(gates.arrive(Mono(0), 1)).slot, b, "the other one is suspect");
    }
    assert_eq!(gates.unreachable(Mono(0), other, &[a, b], 1), Arrival::Unreachable);
    assert_eq!(passes(gates.arrive(Mono(0), 1)).slot, a, "both are, so all are used");
}

#[test]
fn what_was_never_sent_waits_at_its_old_place_while_its_gate_is_shut() {
    let mut gates = Balancer::new(limits());
    let slot = gates.add(Mono(0), &Kept::open(upstream("a"), true));
    let pass = passes(gates.arrive(Mono(0), 1));
    gates.hold(Mono(0), slot, &hold("h", 1)).unwrap();
    let later = waits(gates.arrive(Mono(1), 1));
    let ticket = waits(gates.unreachable(Mono(2), pass, &[slot], 1));
    assert!(ticket < later);
}

#[test]
fn the_ill_are_chosen_only_when_all_are() {
    let (mut gates, a, b) = two();
    gates.checked(a, false);
    for _ in 0..3 {
        assert_eq!(passes(gates.arrive(Mono(0), 1)).slot, b);
    }
    gates.checked(b, false);
    assert_eq!(passes(gates.arrive(Mono(0), 1)).slot, a, "nobody is healthy: go on with all");
}

#[test]
fn a_new_app_is_not_ill_because_the_old_one_was() {
    let (mut gates, a, b) = two();
    gates.checked(a, false);
    gates.checked(b, false);
    gates.switch(a, &upstream("new"));
    assert!(gates.healthy(a) && !gates.healthy(b));
    gates.balance(Mono(0), b, true);
    assert!(!gates.healthy(b), "it was in the balancer already");
    gates.balance(Mono(0), b, false);
    gates.balance(Mono(0), b, true);
    assert!(gates.healthy(b), "its instance found it well again");
}
