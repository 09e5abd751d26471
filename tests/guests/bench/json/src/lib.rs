//! A typed JSON transform, as most plugins do one: an order in, an invoice out.

mod transform;

use syncline_sdk::prelude::*;

plugin! {
    /// Makes an invoice of an order.
    Invoices { process: invoice }
}

fn invoice(event: &Event) -> Result<Event> {
    let invoice = transform::invoice_of(event.data())?;
    Ok(event.with_data("application/json", invoice))
}
