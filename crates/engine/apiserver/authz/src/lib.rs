//! RBAC evaluation and authentication of API requests.
