//! Who may do what: one table of roles and actions.
//!
//! Whose things an action may touch is the use case's own check: everybody but a platform admin stays within their tenant,
//! and with files and what is retained a platform admin does too.

use orrery_store::Role;

/// What a request wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Call a model, and count tokens for it.
    Infer,
    /// See which models are served.
    ReadModels,
    /// See usage: a key's own for the role that only calls models, else the tenant's.
    ReadUsage,
    /// See the price list.
    ReadPrices,
    /// See the keys of the tenant, without their texts.
    ReadKeys,
    /// Make, change and revoke keys.
    ManageKeys,
    /// See the tenant's settings and limits.
    ReadTenant,
    /// Make, change and erase tenants.
    ManageTenants,
    /// Change the price list.
    ManagePrices,
    /// Read the audit log.
    ReadAudit,
    /// List and read the tenant's uploaded files.
    ReadFiles,
    /// Upload and delete them.
    ManageFiles,
    /// Read and delete what is retained of the tenant's requests and answers.
    ReadRetained,
    /// List and read the tenant's training jobs.
    ReadJobs,
    /// Begin and cancel them.
    ManageJobs,
    /// Bring, download, promote and archive the tenant's own models.
    ManageModels,
    /// Replace the keys under which files are encrypted.
    ManageVault,
    /// Read the metrics of the whole server.
    ReadMetrics,
}

impl Action {
    pub const ALL: [Self; 18] = [
        Self::Infer,
        Self::ReadModels,
        Self::ReadUsage,
        Self::ReadPrices,
        Self::ReadKeys,
        Self::ManageKeys,
        Self::ReadTenant,
        Self::ManageTenants,
        Self::ManagePrices,
        Self::ReadAudit,
        Self::ReadFiles,
        Self::ManageFiles,
        Self::ReadRetained,
        Self::ReadJobs,
        Self::ManageJobs,
        Self::ManageModels,
        Self::ManageVault,
        Self::ReadMetrics,
    ];

    /// What it is called in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Infer => "call models",
            Self::ReadModels => "list models",
            Self::ReadUsage => "read usage",
            Self::ReadPrices => "read prices",
            Self::ReadKeys => "list keys",
            Self::ManageKeys => "manage keys",
            Self::ReadTenant => "read the tenant",
            Self::ManageTenants => "manage tenants",
            Self::ManagePrices => "manage prices",
            Self::ReadAudit => "read the audit log",
            Self::ReadFiles => "read files",
            Self::ManageFiles => "upload and delete files",
            Self::ReadRetained => "read what is retained",
            Self::ReadJobs => "read training jobs",
            Self::ManageJobs => "begin and cancel training jobs",
            Self::ManageModels => "manage models",
            Self::ManageVault => "manage the vault",
            Self::ReadMetrics => "read metrics",
        }
    }
}

/// The table.
pub fn allows(role: Role, action: Action) -> bool {
    use Action::*;
    match action {
        Infer | ReadModels | ReadUsage => true,
        ReadPrices | ReadFiles | ManageFiles | ReadJobs | ManageJobs | ManageModels => role != Role::Inference,
        ReadKeys | ManageKeys | ReadTenant | ReadAudit | ReadRetained => {
            matches!(role, Role::TenantAdmin | Role::PlatformAdmin)
        }
        ManageTenants | ManagePrices | ManageVault | ReadMetrics => role == Role::PlatformAdmin,
    }
}

/// Whether who has `role` may give `given` to a new key: nobody gives more than they have.
pub fn may_give(role: Role, given: Role) -> bool {
    match role {
        Role::PlatformAdmin => true,
        Role::TenantAdmin => given != Role::PlatformAdmin,
        Role::Developer | Role::Inference => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLES: [Role; 4] = [Role::PlatformAdmin, Role::TenantAdmin, Role::Developer, Role::Inference];

    /// Written out, so that a change of the code is a change here.
    #[test]
    fn the_table_is_exactly_this() {
        let table = [
            //                       platform tenant developer inference
            (Action::Infer, [true, true, true, true]),
            (Action::ReadModels, [true, true, true, true]),
            (Action::ReadUsage, [true, true, true, true]),
            (Action::ReadPrices, [true, true, true, false]),
            (Action::ReadKeys, [true, true, false, false]),
            (Action::ManageKeys, [true, true, false, false]),
            (Action::ReadTenant, [true, true, false, false]),
            (Action::ManageTenants, [true, false, false, false]),
            (Action::ManagePrices, [true, false, false, false]),
            (Action::ReadAudit, [true, true, false, false]),
            (Action::ReadFiles, [true, true, true, false]),
            (Action::ManageFiles, [true, true, true, false]),
            (Action::ReadRetained, [true, true, false, false]),
            (Action::ReadJobs, [true, true, true, false]),
            (Action::ManageJobs, [true, true, true, false]),
            (Action::ManageModels, [true, true, true, false]),
            (Action::ManageVault, [true, false, false, false]),
            (Action::ReadMetrics, [true, false, false, false]),
        ];
        assert_eq!(table.map(|(action, _)| action), Action::ALL);
        for (action, allowed) in table {
            assert_eq!(ROLES.map(|role| allows(role, action)), allowed, "{action:?}");
        }
    }

    #[test]
    fn nobody_gives_more_than_they_have() {
        let given = |role| ROLES.map(|given| may_give(role, given));
        assert_eq!(given(Role::PlatformAdmin), [true; 4]);
        assert_eq!(given(Role::TenantAdmin), [false, true, true, true]);
        assert_eq!(given(Role::Developer), [false; 4]);
        assert_eq!(given(Role::Inference), [false; 4]);
    }
}
