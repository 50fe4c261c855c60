//! DESIGN A8: no accounting record that was acknowledged is lost, and none is written twice, whenever the process dies.
//! `ORTHRUS_KILLS=100` kills a hundred times.

use std::time::Duration;
use tests::Setup;
use tests::accounting::{Load, assert_whole, start};
use tests::wait::pass;

#[test]
fn a_kill_at_any_moment_loses_no_acknowledged_record_and_writes_none_twice() {
    let kills = std::env::var("ORTHRUS_KILLS").map_or(20, |count| count.parse().expect("a number"));
    let setup = Setup::new().set("accounting.rotate_size", "64KiB");
    let (mut gateway, address) = start(setup);
    let load = Load::start(address, 8);
    for _ in 0..kills {
        load.await_more(20);
        pass(Duration::from_micros(u64::from(rand::random::<u16>())));
        gateway.kill();
        gateway.start_again();
    }
    let answered = load.end();
    assert!(answered.len() >= kills * 20);
    println!("{} records, {kills} kills", answered.len());
    assert_whole(&answered, &gateway.path("accounting"));
}
