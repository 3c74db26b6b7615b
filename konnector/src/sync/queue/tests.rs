//! Order, fairness, backoff.

use super::*;

type Pairs = Queue<(&'static str, u32), &'static str>;

fn queue() -> Pairs {
    Queue::new(|key| key.0)
}

fn drain(queue: &mut Pairs, now: Instant) -> Vec<(&'static str, u32)> {
    std::iter::from_fn(|| queue.pop(now, &HashSet::new())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_key_waits_at_most_once_and_takes_its_best_priority() {
    let mut queue = queue();
    queue.push(("a", 1), Priority::Backlog, Instant::now());
    queue.push(("a", 2), Priority::Backlog, Instant::now());
    queue.push(("a", 2), Priority::Change, Instant::now());
    queue.push(("a", 2), Priority::Backlog, Instant::now());
    assert_eq!(drain(&mut queue, Instant::now()), [("a", 2), ("a", 1)]);
    assert_eq!(queue.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn lanes_take_turns() {
    let mut queue = queue();
    for n in 0..3 {
        queue.push(("many", n), Priority::Backlog, Instant::now());
    }
    queue.push(("one", 0), Priority::Backlog, Instant::now());
    let order = drain(&mut queue, Instant::now());
    assert_eq!(order, [("many", 0), ("one", 0), ("many", 1), ("many", 2)]);
}

#[tokio::test(start_paused = true)]
async fn urgent_work_does_not_starve_the_rest() {
    let mut queue = queue();
    queue.push(("b", 0), Priority::Backlog, Instant::now());
    for n in 0..40 {
        queue.push(("c", n), Priority::Change, Instant::now());
    }
    let order = drain(&mut queue, Instant::now());
    let place = order.iter().position(|key| *key == ("b", 0)).unwrap();
    assert!((8..=16).contains(&place), "{place}");
}

#[tokio::test(start_paused = true)]
async fn failures_put_a_key_off_for_longer_and_success_forgets_them() {
    let mut queue = queue();
    let now = Instant::now();
    let mut waits = Vec::new();
    for _ in 0..30 {
        queue.retry(("a", 1), Duration::ZERO, 0.5, now);
        let due = queue.next_due().unwrap();
        assert_eq!(
            queue.pop(due - Duration::from_millis(1), &HashSet::new()),
            None
        );
        assert_eq!(queue.pop(due, &HashSet::new()), Some(("a", 1)));
        waits.push(due - now);
    }
    assert!(waits.is_sorted() && waits[0] == BACKOFF.0 && waits[29] == BACKOFF.1);
    queue.succeeded(&("a", 1));
    queue.retry(("a", 1), Duration::from_secs(9), 0.5, now);
    assert_eq!(
        queue.next_due(),
        Some(now + Duration::from_secs(9)),
        "Retry-After counts"
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_does_not_wait_for_the_backoff() {
    let mut queue = queue();
    let now = Instant::now();
    queue.retry(("a", 1), Duration::from_secs(60), 0.5, now);
    queue.push(("a", 1), Priority::Change, Instant::now());
    assert_eq!(drain(&mut queue, now), [("a", 1)]);
    assert_eq!(drain(&mut queue, now + Duration::from_secs(120)), []);
    assert_eq!(queue.next_due(), None);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_not_given_out_while_it_is_worked_on() {
    let mut queue = queue();
    let busy = HashSet::from([("a", 1)]);
    queue.push(("a", 1), Priority::Change, Instant::now());
    queue.push(("a", 2), Priority::Change, Instant::now());
    let now = Instant::now();
    assert_eq!(queue.pop(now, &busy), Some(("a", 2)));
    assert_eq!(queue.pop(now, &busy), None);
    assert_eq!(queue.pop(now, &HashSet::new()), Some(("a", 1)));
}
