// Plain values in, a decision out.

/** The operator's list, which comes as JSON text. */
export function tenants(json) {
  const list = JSON.parse(json ?? "null");
  if (!Array.isArray(list) || list.length === 0) {
    throw "`tenants` must be a list: list the tenants to let in";
  }
  return list;
}

export function admit(tenant, tenants) {
  if (tenants.includes(tenant)) {
    return { tag: "accept" };
  }
  return {
    tag: "reject",
    val: {
      closeCode: 4100,
      code: "tenant_unknown",
      message: "this tenant has no access",
      retryable: false,
      retryAfterMs: undefined,
    },
  };
}
