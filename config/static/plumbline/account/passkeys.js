"use strict";
// Shows forms that need passkeys where the browser has them, and says on the page what went wrong.
{
  const forms = document.querySelectorAll("form[data-passkey-error]");
  if (window.PublicKeyCredential) for (const form of forms) form.hidden = false;
  document.addEventListener("allauth.error", (event) => {
    event.preventDefault();
    for (const form of forms) {
      const place = form.querySelector("[data-passkey-says]");
      place.textContent = form.dataset.passkeyError;
      place.hidden = false;
    }
  });
}
