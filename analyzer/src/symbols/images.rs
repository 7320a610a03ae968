//! What is known of each object, read once: when somebody asks for it, or ahead of that.
//!
//! To read debug information takes a while (0.1 s for 10 MB of it, unpacked), and names are asked for only
//! when a trace has been replayed. So a thread reads meanwhile. Nobody waits for it: what it has not
//! come to is read by whoever asks.

use super::image::{Image, Place};
use super::places::Places;
use crate::read::Modules;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The objects of one trace.
#[derive(Debug)]
pub struct Images {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    modules: Modules,
    places: Places,
    /// By the numbers of the modules.
    images: Box<[Mutex<Option<Image>>]>,
}

impl Images {
    /// None is read yet.
    pub fn new(modules: &Modules, places: Places) -> Images {
        let images = (0..modules.count()).map(|_| Mutex::default()).collect();
        Images { shared: Arc::new(Shared { modules: modules.clone(), places, images }) }
    }

    /// The functions that an address (as in the object's file) is in, as [`Image::places`] has them.
    /// None where there is no object of that number.
    pub fn places(&self, module: usize, address: u64) -> Vec<Place> {
        self.shared.with(module, |image| image.places(address)).unwrap_or_default()
    }

    /// Begins to read these, in this order, for as long as anybody may ask.
    pub fn read_ahead(&self, modules: Vec<usize>) {
        let shared = Arc::downgrade(&self.shared);
        let read = move || {
            for module in modules {
                let Some(shared) = shared.upgrade() else { return };
                shared.with(module, |_| ());
            }
        };
        // Without a thread it is read later.
        let _ = thread::Builder::new().name("symbols".into()).spawn(read);
    }
}

impl Shared {
    fn with<T>(&self, number: usize, ask: impl FnOnce(&Image) -> T) -> Option<T> {
        let module = self.modules.get(number)?;
        let mut image = self.images[number].lock().unwrap_or_else(PoisonError::into_inner);
        Some(ask(image.get_or_insert_with(|| Image::open(module, &self.places))))
    }
}
