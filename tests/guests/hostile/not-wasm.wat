;; Is a picture of something else.
;; bytes: GIF89a, or so it says
;; expect: does not load: policy "not-wasm" does not load
