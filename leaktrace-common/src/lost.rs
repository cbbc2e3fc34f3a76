//! Why something was not recorded; each early exit of a BPF program counts one of these.

/// A loss reason; its number is the index into the per-CPU loss map.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The creator's return address could not be read: counted under the overflow site.
    CallerUnreadable = 0,
    /// A frame further out could not be read: the site's call chain is cut short there.
    FrameUnreadable = 1,
    /// No room for another site: counted under the overflow site.
    SitesFull = 2,
    /// No room in the live map: created is counted, its release will not be.
    LiveFull = 3,
    /// The context's state could not be read at a cancel: repeated or first is unknown.
    ContextUnreadable = 4,
    /// A map that always exists was not there: the program could not do its work.
    MapMissing = 5,
    /// No room to remember another mapping: its bytes are counted, but when it is unmapped, neither
    /// its kind nor the site that made it will be known.
    MappingsFull = 6,
    /// A mapping was changed in more pieces than are followed: the rest is counted by no site.
    MappingsUnfollowed = 7,
    /// A page fault inside the kernel, whose user registers this kernel does not give: counted
    /// under the overflow site.
    RegistersUnknown = 8,
    /// What a goroutine was started with, or by whom, could not be read: counted under the overflow
    /// site.
    GoroutineUnreadable = 9,
    /// No room for another call chain that starts goroutines: counted by site, without its stack.
    StacksFull = 10,
}

/// Every reason, in index order.
pub const LOST_REASONS: [Lost; 11] = [
    Lost::CallerUnreadable,
    Lost::FrameUnreadable,
    Lost::SitesFull,
    Lost::LiveFull,
    Lost::ContextUnreadable,
    Lost::MapMissing,
    Lost::MappingsFull,
    Lost::MappingsUnfollowed,
    Lost::RegistersUnknown,
    Lost::GoroutineUnreadable,
    Lost::StacksFull,
];

impl Lost {
    /// The reason's name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CallerUnreadable => "caller_unreadable",
            Self::FrameUnreadable => "frame_unreadable",
            Self::SitesFull => "sites_full",
            Self::LiveFull => "live_full",
            Self::ContextUnreadable => "context_unreadable",
            Self::MapMissing => "map_missing",
            Self::MappingsFull => "mappings_full",
            Self::MappingsUnfollowed => "mappings_unfollowed",
            Self::RegistersUnknown => "registers_unknown",
            Self::GoroutineUnreadable => "goroutine_unreadable",
            Self::StacksFull => "stacks_full",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LOST_REASONS;

    #[test]
    fn reasons_are_listed_in_index_order() {
        for (index, reason) in LOST_REASONS.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }
}
