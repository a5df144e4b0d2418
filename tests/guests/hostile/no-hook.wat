;; Has nothing to ask.
;; expect: does not load: has no hook
(component)
