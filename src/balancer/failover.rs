//! Failover: the first pool in the order of the configuration that can be had.

/// The members of one rank, in their order.
#[derive(Debug)]
pub struct Failover {
    members: Box<[u32]>,
}

impl Failover {
    /// These members, whose weights have no say.
    pub fn new(members: &[(u32, u32)]) -> Self {
        Self { members: members.iter().map(|(member, _)| *member).collect() }
    }

    /// The first eligible member.
    pub fn choose(&self, mut eligible: impl FnMut(u32) -> bool) -> Option<u32> {
        self.members.iter().copied().find(|member| eligible(*member))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F1: always the first that can be had, whatever the weights.
    #[test]
    fn first_that_can_be_had() {
        let method = Failover::new(&[(0, 1), (1, 100), (2, 5)]);
        assert_eq!(method.choose(|_| true), Some(0));
        assert_eq!(method.choose(|pool| pool > 0), Some(1));
        assert_eq!(method.choose(|_| false), None);
    }
}
