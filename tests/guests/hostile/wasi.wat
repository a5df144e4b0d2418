;; Wants the environment.
;; expect: does not load: imports wasi:cli/environment@0.2.0, which it is not given
(component (import "wasi:cli/environment@0.2.0" (instance)))
