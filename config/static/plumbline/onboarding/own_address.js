"use strict";
// Gives the answer of a POST the address of its page: loading it again then sends no form again.
history.replaceState(null, "", document.currentScript.dataset.address);
