//! The filler: four nozzles, a tank that empties and is refilled, recipes.

use super::LINE;
use super::conveyor::Conveyor;
use super::random::Random;
use super::table::{Received, Sent, Source, Timing};
use super::world::{AMBIENT, Device, TICK_S, approach, bit};

/// Volume of the full tank, l.
const TANK: f64 = 500.0;
/// Supply pump, l/s.
const SUPPLY: f64 = 3.4;
/// Largest flow of a nozzle, l/s.
const NOZZLE: f64 = 1.0;
/// The valve of a nozzle is open from and to this share of a cycle, the first one.
const OPEN: (f64, f64) = (0.10, 0.80);
/// Each further nozzle comes later by this share.
const STAGGER: f64 = 0.03;

/// A stored recipe.
#[derive(Clone, Copy, Debug)]
struct Recipe {
    volume: f64,
    fill_time: f64,
    code: f64,
}

#[derive(Debug)]
pub struct Filler {
    enable: bool,
    clean: bool,
    recipe: usize,
    /// ml for each bottle.
    volume: f64,
    temperature_setpoint: f64,
    refill_level: f64,
    /// The recipe that a download is for.
    slot: usize,
    recipes: [Recipe; 4],
    /// l in the tank.
    tank: f64,
    refilling: bool,
    /// l/min, into the tank positive.
    flow: f64,
    temperature: f64,
    pressure: f64,
    /// Share of the current cycle of four bottles.
    progress: f64,
    bottles_in_cycle: u64,
    running: bool,
    blocked: bool,
    /// What the last cycle filled into each bottle, ml, and how long it took, ms.
    last: [(f64, f64); 4],
    filled: u32,
    underfilled: u16,
    /// The last bottles got their volume.
    pub good: bool,
    valve_cycles: u32,
    pump_seconds: f64,
    level_drift: f64,
    flow_drift: f64,
}

impl Filler {
    pub fn new() -> Filler {
        let recipe = |volume, fill_time, code| Recipe { volume, fill_time, code };
        Filler {
            enable: false,
            clean: false,
            recipe: 0,
            volume: 500.0,
            temperature_setpoint: 18.0,
            refill_level: 35.0,
            slot: 0,
            recipes: [
                recipe(500.0, 1800.0, 4_012_345.0),
                recipe(330.0, 1400.0, 4_012_352.0),
                recipe(1000.0, 4200.0, 4_012_369.0),
                recipe(0.0, 10_000.0, 1.0),
            ],
            tank: 0.52 * TANK,
            refilling: false,
            flow: 0.0,
            temperature: 19.5,
            pressure: 2.2,
            progress: 0.0,
            bottles_in_cycle: 0,
            running: false,
            blocked: false,
            last: [(500.0, 1300.0); 4],
            filled: 0,
            underfilled: 0,
            good: true,
            valve_cycles: 1_204_771,
            pump_seconds: 8_610.0 * 3600.0,
            level_drift: 0.0,
            flow_drift: 0.0,
        }
    }

    pub fn tick(&mut self, conveyor: &Conveyor, random: &mut Random) {
        let rate = conveyor.rate();
        self.blocked = conveyor.jammed;
        self.running = self.enable && !self.clean && rate > 0.0 && self.tank > 1.0;
        // what a nozzle can give while it is open
        let open_s = if rate > 0.0 { (OPEN.1 - OPEN.0) * 4.0 / rate } else { 0.0 };
        let possible = (NOZZLE * open_s * 1000.0).min(self.volume);
        if self.running && conveyor.new_bottles > 0 {
            self.bottles_in_cycle += conveyor.new_bottles;
            self.tank = (self.tank - possible / 1000.0).max(0.0);
            self.filled = self.filled.wrapping_add(1);
            self.good = possible >= 0.98 * self.volume;
            if !self.good {
                self.underfilled = self.underfilled.wrapping_add(1);
            }
            if self.bottles_in_cycle >= 4 {
                self.bottles_in_cycle = 0;
                self.valve_cycles = self.valve_cycles.wrapping_add(4);
                for last in &mut self.last {
                    let milliseconds = if rate > 0.0 { open_s * 1000.0 * possible / (possible + 40.0) } else { 0.0 };
                    *last = (
                        (possible + random.noise(1.5)).max(0.0),
                        (milliseconds + random.noise(6.0)).clamp(0.0, 20_000.0),
                    );
                }
            }
        }
        if !self.running {
            self.good = false;
        }
        self.progress = (self.bottles_in_cycle as f64 + conveyor.phase().min(1.0)) / 4.0;
        self.supply(rate * possible / 1000.0 * bit(self.running), random);
    }

    /// Tank, pump, pressure and the drift of the sensors. `out`: l/s.
    fn supply(&mut self, out: f64, random: &mut Random) {
        let level = self.level();
        if level <= self.refill_level {
            self.refilling = true;
        } else if level >= (self.refill_level + 50.0).min(98.0) {
            self.refilling = false;
        }
        let supply = if self.refilling { SUPPLY } else { 0.0 };
        self.tank = (self.tank + supply * TICK_S).min(TANK);
        if self.refilling {
            self.pump_seconds += TICK_S;
        }
        approach(&mut self.flow, (supply - out) * 60.0, 0.5);
        let open = (0..4).filter(|nozzle| self.open(*nozzle)).count() as f64;
        approach(&mut self.pressure, 2.3 - 0.06 * open + 0.1 * bit(self.clean) + random.noise(0.03), 0.1);
        let warm = if self.refilling { AMBIENT } else { self.temperature_setpoint };
        approach(&mut self.temperature, warm, 90.0);
        approach(&mut self.level_drift, random.noise(4.0), 20.0);
        approach(&mut self.flow_drift, random.noise(0.4), 20.0);
    }

    /// Per cent.
    fn level(&self) -> f64 {
        self.tank / TANK * 100.0
    }

    fn open(&self, nozzle: usize) -> bool {
        let later = STAGGER * nozzle as f64;
        self.clean || self.running && (OPEN.0 + later..OPEN.1 + later).contains(&self.progress)
    }

    fn state(&self) -> f64 {
        if !self.enable {
            0.0
        } else if self.blocked {
            5.0
        } else if self.tank <= 1.0 {
            6.0
        } else if self.running {
            3.0
        } else {
            2.0
        }
    }

    /// The nozzle that a page is about.
    fn nozzle(page: u64) -> usize {
        (page.saturating_sub(16) as usize).min(3)
    }

    /// l/min.
    fn nozzle_flow(&self, nozzle: usize) -> f64 {
        let (volume, milliseconds) = self.last[nozzle];
        if self.open(nozzle) && milliseconds > 0.0 { (volume / milliseconds * 60.0).min(100.0) } else { 0.0 }
    }

    fn slot(&mut self) -> &mut Recipe {
        &mut self.recipes[self.slot]
    }
}

/// What it listens to.
pub fn received() -> Vec<Received> {
    vec![
        Received {
            bus: LINE,
            message: "FillerCommand",
            arrived: |_| {},
            signals: vec![
                ("FillerEnable", |w, v| w.filler.enable = v != 0.0),
                ("CleanInPlace", |w, v| w.filler.clean = v != 0.0),
                ("ActiveRecipe", |w, v| w.filler.recipe = (v as usize).min(3)),
                ("FillVolume", |w, v| w.filler.volume = v.clamp(50.0, 2000.0)),
                ("TankTemperatureSetpoint", |w, v| w.filler.temperature_setpoint = v.clamp(-20.0, 80.0)),
                ("RefillLevel", |w, v| w.filler.refill_level = v.clamp(5.0, 95.0)),
            ],
        },
        Received {
            bus: LINE,
            message: "FillerRecipe",
            arrived: |_| {},
            signals: vec![
                ("RecipeSlot", |w, v| w.filler.slot = (v as usize).min(3)),
                ("SlotVolume", |w, v| w.filler.slot().volume = v.clamp(0.0, 2000.0)),
                ("SlotFillTime", |w, v| w.filler.slot().fill_time = v.clamp(0.0, 20_000.0)),
                ("SlotProductCode", |w, v| w.filler.slot().code = v % 16_777_216.0),
            ],
        },
    ]
}

/// What it sends.
pub fn sent() -> Vec<Sent> {
    use Source::{Counter, Page, Selected, Value};
    let message = |message, signals| Sent {
        bus: LINE,
        message,
        device: Device::Filler,
        source_address: None,
        timing: Timing::Cyclic,
        signals,
    };
    vec![
        message(
            "FillerStatus",
            vec![
                ("FillerState", Value(|w| w.filler.state())),
                ("Nozzle1Open", Value(|w| bit(w.filler.open(0)))),
                ("Nozzle2Open", Value(|w| bit(w.filler.open(1)))),
                ("Nozzle3Open", Value(|w| bit(w.filler.open(2)))),
                ("Nozzle4Open", Value(|w| bit(w.filler.open(3)))),
                ("TankLevel", Value(|w| w.filler.level())),
                ("Refilling", Value(|w| bit(w.filler.refilling))),
                ("BottlePresent", Value(|w| bit(w.filler.running && w.filler.progress > 0.05))),
                ("ActiveRecipeEcho", Value(|w| w.filler.recipe as f64)),
                ("FillPressure", Value(|w| w.filler.pressure)),
                ("CycleProgress", Value(|w| (w.filler.progress * 100.0).clamp(0.0, 100.0))),
                ("FillerAlive", Counter { modulus: 256, stuck_by: None }),
            ],
        ),
        message(
            "FillerPages",
            vec![
                ("Page", Page { values: &[0, 1, 2, 3, 16, 17, 18, 19], frames: 1 }),
                ("TankTemperature", Value(|w| w.filler.temperature)),
                ("TankVolume", Value(|w| w.filler.tank)),
                ("TankFlow", Value(|w| w.filler.flow)),
                ("RecipeVolume", Value(|w| w.filler.recipes[w.filler.recipe].volume)),
                ("RecipeFillTime", Value(|w| w.filler.recipes[w.filler.recipe].fill_time)),
                ("RecipeCode", Value(|w| w.filler.recipes[w.filler.recipe].code)),
                ("FilledBottles", Value(|w| w.filler.filled as f64)),
                ("UnderfilledBottles", Value(|w| w.filler.underfilled as f64)),
                ("DiagnosticPage", Page { values: &[0, 1, 2], frames: 8 }),
                ("ValveCycles", Value(|w| w.filler.valve_cycles as f64)),
                ("PumpHours", Value(|w| w.filler.pump_seconds / 3600.0)),
                ("PumpCurrent", Value(|w| bit(w.filler.refilling) * (3100.0 + 40.0 * (w.time() * 3.0).sin()))),
                ("LevelSensorOffset", Value(|w| w.filler.level_drift)),
                ("FlowSensorOffset", Value(|w| w.filler.flow_drift)),
                ("NozzleFlow", Selected(|w, page| w.filler.nozzle_flow(Filler::nozzle(page)))),
                ("NozzleTime", Selected(|w, page| w.filler.last[Filler::nozzle(page)].1)),
                ("NozzleVolume", Selected(|w, page| w.filler.last[Filler::nozzle(page)].0)),
            ],
        ),
    ]
}
