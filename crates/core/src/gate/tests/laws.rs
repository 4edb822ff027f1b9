//! What holds whatever happens in whatever order.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone)]
enum Act {
    Arrive(u64),
    Answer(usize),
    Stream(usize),
    Leave(usize),
    Hold(u64),
    Seal(bool),
    Drain(u64, u64),
    Switch(u8),
    Release,
    Wait(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0_u64..60).prop_map(Act::Arrive),
        4 => any::<usize>().prop_map(Act::Answer),
        1 => any::<usize>().prop_map(Act::Stream),
        1 => any::<usize>().prop_map(Act::Leave),
        1 => (0_u64..4).prop_map(Act::Hold),
        1 => any::<bool>().prop_map(Act::Seal),
        1 => (0_u64..600, prop_oneof![Just(0), 1_u64..90]).prop_map(|(w, q)| Act::Drain(w, q)),
        1 => (0_u8..3).prop_map(Act::Switch),
        2 => Just(Act::Release),
        4 => (0_u64..400).prop_map(Act::Wait),
    ]
}

/// What the world outside of the balancer knows.
#[derive(Default)]
struct World {
    now: u64,
    inside: Vec<Pass>,
    waiting: BTreeMap<Ticket, u64>,
    gone: BTreeSet<Ticket>,
    last_let_go: Option<Ticket>,
}

impl World {
    fn now(&self) -> Mono {
        Mono(self.now)
    }

    /// A request that passed: its gate must pass now, and nobody older may be waiting.
    fn passed(&mut self, gates: &Balancer, pass: Pass) {
        let passing = gates.counts(pass.slot).unwrap().passing;
        assert!(matches!(passing, Passing::Open | Passing::Draining), "it passed while {passing:?}");
        assert!(self.waiting.keys().all(|older| *older > pass.ticket), "it overtook who waits");
        assert!(!self.gone.contains(&pass.ticket), "it left twice");
        self.inside.push(pass);
    }

    fn take(&mut self, gates: &mut Balancer) {
        for event in gates.events() {
            match event {
                Event::LetGo(pass, _) => {
                    assert!(self.waiting.remove(&pass.ticket).is_some(), "it was not waiting");
                    self.last_let_go = Some(pass.ticket);
                    self.passed(gates, pass);
                }
                Event::Expired(ticket, _) => {
                    let since = self.waiting.remove(&ticket).expect("it was waiting");
                    assert!(self.now >= since + limits().wait.0, "refused too early");
                    assert!(self.gone.insert(ticket), "it left twice");
                }
                Event::Lapsed(slot) => {
                    let counts = gates.counts(slot).unwrap();
                    assert!(matches!(counts.passing, Passing::Open | Passing::Shut));
                }
                Event::Drained(slot) => assert_eq!(gates.counts(slot).unwrap().in_flight, 0),
                Event::End(_) | Event::TakenBack(_) | Event::Idle(_) => {}
            }
        }
    }

    fn do_it(&mut self, gates: &mut Balancer, slots: [SlotKey; 2], act: &Act) {
        let now = self.now();
        let slot = slots[usize::try_from(self.now % 2).unwrap()];
        match *act {
            Act::Arrive(bytes) => match gates.arrive(now, bytes) {
                Arrival::Pass(pass) => self.passed(gates, pass),
                Arrival::Wait(ticket) => drop(self.waiting.insert(ticket, self.now)),
                Arrival::Refuse(refusal) => assert_eq!(refusal.reason, Why::Full),
                Arrival::Unreachable => unreachable!("nothing was tried"),
            },
            Act::Answer(n) if !self.inside.is_empty() => {
                let pass = self.inside.remove(n % self.inside.len());
                assert!(self.gone.insert(pass.ticket));
                gates.answered(now, pass);
            }
            Act::Stream(n) if !self.inside.is_empty() => {
                let n = n % self.inside.len();
                gates.streaming(now, &mut self.inside[n]);
            }
            Act::Leave(n) if !self.waiting.is_empty() => {
                let ticket = *self.waiting.keys().nth(n % self.waiting.len()).unwrap();
                self.waiting.remove(&ticket);
                assert!(gates.left(ticket).is_some() && self.gone.insert(ticket));
            }
            Act::Hold(rev) => {
                let _ = gates.hold(now, slot, &hold("h", rev));
            }
            Act::Seal(with) => {
                let id = HoldId::new("h").unwrap();
                let _ = gates.seal(now, slot, with.then_some(&id));
            }
            Act::Drain(within, quiet) => gates.drain(now, slot, &drain(within, quiet)),
            Act::Switch(n) => gates.switch(slot, &upstream(&n.to_string())),
            Act::Release => {
                let _ = gates.release(now, slot);
            }
            Act::Wait(span) => self.wait(gates, span),
            Act::Answer(_) | Act::Stream(_) | Act::Leave(_) => {}
        }
        self.take(gates);
    }

    /// Goes from deadline to deadline, as the proxy does.
    fn wait(&mut self, gates: &mut Balancer, span: u64) {
        let end = self.now + span;
        while let Some(Mono(due)) = gates.next_deadline().filter(|due| due.0 <= end) {
            self.now = self.now.max(due);
            gates.tick(self.now());
            self.take(gates);
            assert!(gates.next_deadline().is_none_or(|next| next.0 > self.now), "tick did all that was due");
        }
        self.now = end;
    }

    fn check(&self, gates: &Balancer, slots: [SlotKey; 2]) {
        let inside: u32 = slots.iter().map(|s| gates.counts(*s).unwrap().in_flight).sum();
        assert_eq!(inside as usize, self.inside.len());
        assert_eq!(gates.waiting(), self.waiting.len());
        assert!(gates.waiting() <= limits().requests as usize && gates.waiting_bytes() <= limits().bytes);
        for slot in slots {
            let counts = gates.counts(slot).unwrap();
            assert!(counts.former <= counts.in_flight && counts.streams <= counts.in_flight);
        }
    }
}

proptest! {
    #[test]
    fn the_laws_hold(acts in prop::collection::vec(act(), 1..200), first in any::<bool>()) {
        let mut gates = Balancer::new(limits());
        let kept = if first { Kept::open(upstream("0"), true) } else { Kept::expected(true) };
        let slots = [gates.add(Mono(0), &kept), gates.add(Mono(0), &Kept::open(upstream("1"), true))];
        let mut world = World::default();
        for act in &acts {
            world.do_it(&mut gates, slots, act);
            world.check(&gates, slots);
        }
        // In the end everybody gets out: nothing waits for ever.
        world.wait(&mut gates, 10_000);
        prop_assert!(world.waiting.is_empty());
    }

    #[test]
    fn an_open_gate_that_is_held_and_left_alone_is_open_again(
        renewals in prop::collection::vec(0_u64..499, 0..5),
        arrivals in prop::collection::vec(0_u64..3_000, 0..10),
    ) {
        let mut gate = Machine::new(&Kept::open(upstream("one"), true), limits());
        let mut now = 0;
        gate.hold(Mono(0), &hold("h", 1)).unwrap();
        for pause in renewals {
            now += pause;
            gate.hold(Mono(now), &hold("h", 1)).unwrap();
        }
        gate.tick(Mono(now + 499));
        prop_assert_eq!(gate.counts().passing, Passing::Held);
        for _ in arrivals {
            let _ = gate.arrive(Mono(now + 499), 1);
        }
        gate.tick(Mono(now + 500));
        prop_assert_eq!(gate.counts().passing, Passing::Open);
        prop_assert_eq!(gate.counts().waiting, 0);
    }
}
