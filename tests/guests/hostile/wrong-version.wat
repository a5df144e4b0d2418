;; Was built for a contract that is not there yet.
;; expect: does not load: imports sluice:policy/connection@0.2.0, which this host does not offer
(component
  (import "sluice:policy/connection@0.2.0" (instance (export "facts" (type (sub resource))))))
