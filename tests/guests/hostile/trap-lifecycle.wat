;; Traps while it validates its configuration.
;; hook: lifecycle
;; expect: does not load: policy "trap-lifecycle" trapped
(func (export "hook") (result i32) (unreachable))
