//! The operator panel and the person in front of it.

use super::random::Random;
use super::table::{Sent, Source, Timing};
use super::world::{AMBIENT, Device, TICK_S, approach, bit};
use super::{LINE, World};

/// How long a button is held, seconds.
const PRESS: f64 = 0.5;
/// From the moment the relay asks for it to the press of the reset button, seconds.
const REACTION: f64 = 3.0;

/// Values of `PanelEvent.Button`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Button {
    Start = 1,
    Reset = 3,
    Acknowledge = 4,
}

#[derive(Debug)]
pub struct Panel {
    /// The blue button, now.
    pub reset_pressed: bool,
    /// Button that is held and for how much longer, seconds.
    held: Option<(Button, f64)>,
    /// The button of the last event and whether it was pressed.
    last: (Button, bool),
    events: u64,
    /// Seconds until the next press of the acknowledge button.
    acknowledge: f64,
    /// Seconds that the relay has been waiting for a reset.
    waiting: f64,
    /// The start button follows the reset.
    start: Option<f64>,
    knob: f64,
    temperature: f64,
    screen: f64,
    next_screen: f64,
    touch: (f64, f64),
    drift: f64,
}

impl Panel {
    pub fn new() -> Panel {
        Panel {
            reset_pressed: false,
            held: None,
            last: (Button::Start, false),
            events: 0,
            acknowledge: 20.0,
            waiting: 0.0,
            start: None,
            knob: 52.0,
            temperature: 31.0,
            screen: 0.0,
            next_screen: 12.0,
            touch: (640.0, 400.0),
            drift: 0.0,
        }
    }

    pub fn tick(&mut self, reset_required: bool, time: f64, random: &mut Random) {
        self.waiting = if reset_required { self.waiting + TICK_S } else { 0.0 };
        self.acknowledge -= TICK_S;
        self.start = self.start.map(|left| left - TICK_S);
        match &mut self.held {
            Some((button, left)) => {
                *left -= TICK_S;
                if *left <= 0.0 {
                    self.last = (*button, false);
                    self.held = None;
                    self.events += 1;
                }
            }
            None => {
                let next = if self.waiting > REACTION {
                    self.waiting = 0.0;
                    self.start = Some(2.0);
                    Some(Button::Reset)
                } else if self.start.is_some_and(|left| left <= 0.0) {
                    self.start = None;
                    Some(Button::Start)
                } else if self.acknowledge <= 0.0 {
                    self.acknowledge = random.between(30.0, 60.0);
                    Some(Button::Acknowledge)
                } else {
                    None
                };
                if let Some(button) = next {
                    self.held = Some((button, PRESS));
                    self.last = (button, true);
                    self.events += 1;
                }
            }
        }
        self.reset_pressed = self.pressed(Button::Reset);
        self.next_screen -= TICK_S;
        if self.next_screen <= 0.0 {
            self.next_screen = random.between(10.0, 25.0);
            self.screen = (self.screen + 1.0) % 5.0;
            self.touch = (random.between(0.0, 1279.0), random.between(0.0, 799.0));
        }
        self.knob = 50.0 + 35.0 * (time / 40.0).sin();
        approach(&mut self.temperature, AMBIENT + 9.0 + 2.0 * (time / 90.0).sin(), 30.0);
        approach(&mut self.drift, random.noise(400.0), 10.0);
    }

    fn pressed(&self, button: Button) -> bool {
        self.held.is_some_and(|(held, _)| held == button)
    }
}

/// What it sends.
pub fn sent() -> Vec<Sent> {
    use Source::{Counter, Raw, Value};
    let message = |message, timing, signals| Sent {
        bus: LINE,
        message,
        device: Device::Panel,
        source_address: None,
        timing,
        signals,
    };
    vec![
        message(
            "PanelStatus",
            Timing::Cyclic,
            vec![
                ("StartButton", Value(|w| bit(w.panel.pressed(Button::Start)))),
                ("StopButton", Value(|_| 0.0)),
                ("ResetButton", Value(|w| bit(w.panel.reset_pressed))),
                ("AcknowledgeButton", Value(|w| bit(w.panel.pressed(Button::Acknowledge)))),
                ("KeySwitch", Value(|_| 1.0)),
                ("SpeedKnob", Value(|w| w.panel.knob)),
                ("PanelTemperature", Value(|w| w.panel.temperature)),
                ("ActiveScreen", Value(|w| w.panel.screen)),
                ("TouchX", Value(|w| w.panel.touch.0)),
                ("TouchY", Value(|w| w.panel.touch.1)),
                ("PanelAlive", Counter { modulus: 256, stuck_by: None }),
            ],
        ),
        message(
            "PanelEvent",
            Timing::Event(|w| w.panel.events),
            vec![
                ("Button", Value(|w| w.panel.last.0 as u8 as f64)),
                ("Pressed", Value(|w| bit(w.panel.last.1))),
                ("EventNumber", Value(|w| (w.panel.events % 0x100_0000) as f64)),
            ],
        ),
        message(
            "PanelClock",
            Timing::Cyclic,
            vec![
                ("PanelUptime", Raw(World::panel_uptime_ms)),
                ("ClockDrift", Value(|w| w.panel.drift.clamp(-60.0, 60.0))),
            ],
        ),
    ]
}

impl World {
    /// The panel was switched on a week before.
    fn panel_uptime_ms(&self) -> u64 {
        7 * 86_400_000 + self.ticks * 10
    }
}
