//! What becomes of each request: how long it takes, whether it arrives, and what is answered.

use std::fmt;
use std::time::Duration;

use rand::Rng;

use super::super::super::cluster::Error;
use super::super::super::metrics::Side;
use super::connection::up_to;
use super::world::Sim;

/// What becomes of one request, decided when it is sent.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    /// On the way to the server.
    pub(super) before: Duration,
    /// On the way back.
    pub(super) after: Duration,
    pub(super) error: Option<Error>,
    /// The server does what was asked, whatever it answers.
    pub(super) effect: bool,
    /// It arrives when nobody waits for it any more.
    pub(super) late: bool,
    /// It arrives even if its konnector crashes meanwhile.
    pub(super) survives: bool,
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = if self.effect { "with" } else { "without" };
        write!(f, "{:?} + {:?} {effect} effect", self.before, self.after)?;
        if self.late {
            f.write_str(", late")?;
        }
        match &self.error {
            Some(error) => write!(f, ", answers {error:?}"),
            None => Ok(()),
        }
    }
}

impl Delivery {
    pub(super) fn draw(sim: &mut Sim, side: Side, is_write: bool) -> Self {
        let weather = sim.servers[side as usize].weather.clone();
        let mut way = || {
            let longest = match sim.random.random::<f64>() {
                share if share < weather.slow => 4_000,
                share if share < 0.5 => 0,
                _ => 5,
            };
            up_to(sim, longest)
        };
        let mut delivery = Self {
            before: way(),
            after: way(),
            error: None,
            effect: true,
            late: false,
            survives: sim.chance(0.5),
        };
        if weather.failing > 0.0 && sim.chance(weather.failing) {
            delivery.fail(sim, side, is_write);
        }
        delivery
    }

    fn fail(&mut self, sim: &mut Sim, side: Side, is_write: bool) {
        let wait = Duration::from_secs(sim.random.random_range(1..20));
        let retry_after = sim.chance(0.5).then_some(wait);
        let message = || "out of order".to_owned();
        let error = match sim.random.random_range(0..12) {
            0 | 1 => Error::Throttled { retry_after },
            2 => Error::Unavailable {
                message: message(),
                retry_after,
            },
            // The connection breaks after the server has done what was asked.
            3..6 => {
                self.error = Some(Error::Unavailable {
                    message: message(),
                    retry_after: None,
                });
                return;
            }
            6 => {
                self.late = true;
                self.before = Duration::from_secs(sim.random.random_range(9..40));
                return;
            }
            // The answer does not come in time, or hardly.
            7 => {
                self.after = Duration::from_secs(sim.random.random_range(5..15));
                return;
            }
            8 => Error::Denied { message: message() },
            9 => Error::Unauthorized { message: message() },
            10 if is_write => Error::Changed,
            11 if is_write && side == Side::Provider => match sim.random.random_range(0..3) {
                0 => Error::NamespaceGone { message: message() },
                1 => Error::Rejected {
                    code: 500,
                    message: message(),
                },
                _ => Error::Rejected {
                    code: 403,
                    message: message(),
                },
            },
            _ => Error::Unavailable {
                message: message(),
                retry_after: None,
            },
        };
        self.error = Some(error);
        self.effect = false;
    }
}
