//! A terminal that is closed does not end the fleet that was started in it.

use crate::harness::{Fleet, Program, Setup, Shop, Terminal, until};

/// The keeper has something to say from then on, and nobody to say it to.
#[test]
fn the_keeper_goes_on_without_its_terminal() {
    let shop = Shop::new(&Setup { instances: 2, ..Setup::default() });
    shop.publish("1", &Program::python());
    let terminal = Terminal::run(&shop, &["up"], 100);
    terminal.shows("the service", |line| line.contains("the service"));
    let keeper = terminal.close();
    let mut fleet = Fleet::kept_by(shop, keeper);
    fleet.deploy(&["1"]).succeeded_somehow();
    let users = fleet.users();
    let victim = fleet.seats().into_keys().next().unwrap();
    let killed = fleet.agent(&victim);
    fleet.kill_agent(&victim);
    until("another agent", || {
        fleet.is_kept();
        (fleet.seats().get(&victim)?.agent.as_ref()?.pid != killed).then_some(())
    });
    fleet.all_serve(2, "1");
    users.all_served();
    fleet.is_kept();
}
