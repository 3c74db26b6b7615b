//! Starts processes that die with us. The kernel's parent-death signal goes out when the *thread*
//! that started a process ends, so one thread that lives as long as the process starts them all.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

type Reply = Sender<io::Result<Child>>;

static SPAWNER: OnceLock<Sender<(Command, Reply)>> = OnceLock::new();

/// `program` under a shim that asks the kernel to kill it when this process ends for whatever reason.
pub(crate) fn mortal(program: &std::path::Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    // A group of its own: Ctrl-C on the terminal reaches us, and we end it in order.
    command.process_group(0);
    command
}

/// Starts what [`mortal`] made.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    let spawner = SPAWNER.get_or_init(|| {
        let (requests, inbox) = channel::<(Command, Reply)>();
        std::thread::Builder::new()
            .name("spawner".to_owned())
            .spawn(move || {
                for (mut command, reply) in inbox {
                    // A caller that has gone away takes the process with it: `Child` is not awaited.
                    let _ = reply.send(command.spawn());
                }
            })
            .expect("a process that cannot start a thread cannot start anything");
        requests
    });
    let (reply, answer) = channel();
    spawner
        .send((command, reply))
        .expect("the spawner lives as long as the process");
    answer.recv().expect("the spawner answers every request")
}
