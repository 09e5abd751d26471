//! The transform itself. `syncline bench` compiles this same file natively and compares.

use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Order {
    id: String,
    customer: String,
    email: String,
    status: String,
    currency: String,
    quantity: u32,
    unit_price: u64,
    tags: Vec<String>,
    note: String,
}

#[derive(Serialize)]
struct Invoice {
    id: String,
    customer: String,
    domain: String,
    status: String,
    currency: String,
    total: u64,
    tags: Vec<String>,
    note: String,
}

/// The invoice for an order, both JSON.
pub(crate) fn invoice_of(order: &[u8]) -> serde_json::Result<Vec<u8>> {
    let order: Order = serde_json::from_slice(order)?;
    let domain = order.email.rsplit('@').next().unwrap_or_default();
    let mut tags = order.tags;
    tags.push("invoiced".to_owned());
    let invoice = Invoice {
        domain: domain.to_owned(),
        status: order.status.to_uppercase(),
        total: u64::from(order.quantity) * order.unit_price,
        id: order.id,
        customer: order.customer,
        currency: order.currency,
        tags,
        note: order.note,
    };
    serde_json::to_vec(&invoice)
}
