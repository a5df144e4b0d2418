;; Wants to take over the sessions of others.
;; expect: does not load: grants = ["counters", "sessions"]
(component (import "sluice:policy/sessions@0.1.0" (instance)))
