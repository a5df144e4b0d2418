;; Never has validated its configuration.
;; hook: lifecycle
;; expect: does not load: exceeded its limit of time (2s, the least that a policy has to start in) when it was tried out
(func (export "hook") (result i32) (loop (br 0)) (unreachable))
