//! What a client asks to be told of: the filter of a monitored item.

/// What a client calls a change (OPC 10000-4, 7.22.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// No filter: value and status, but the server layer looks only at the value.
    Unfiltered,
    /// Status only, or value and status.
    Filtered,
    /// Also a new source time.
    Timestamp,
}

impl Trigger {
    /// From the Debug text of the server layer's filter, whose type it keeps to itself. `None` for an event filter.
    pub fn of(filter: &str) -> Option<Trigger> {
        if filter == "None" {
            Some(Trigger::Unfiltered)
        } else if !filter.starts_with("DataChangeFilter") {
            None
        } else if filter.contains("trigger: StatusValueTimestamp") {
            Some(Trigger::Timestamp)
        } else {
            Some(Trigger::Filtered)
        }
    }
}

/// Whether a parsed filter has a deadband. The server layer keeps its type to itself; its Debug text is what it shows.
pub fn has_deadband(filter: &str) -> bool {
    filter.contains("deadband: Absolute") || filter.contains("deadband: Percent")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        for (text, want) in [
            ("None", Some(Trigger::Unfiltered)),
            ("DataChangeFilter(ParsedDataChangeFilter { trigger: Status, deadband: None })", Some(Trigger::Filtered)),
            (
                "DataChangeFilter(ParsedDataChangeFilter { trigger: StatusValueTimestamp, deadband: None })",
                Some(Trigger::Timestamp),
            ),
            ("EventFilter(…)", None),
        ] {
            assert_eq!(Trigger::of(text), want, "{text}");
        }
    }
}
